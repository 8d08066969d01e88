"""`upconv bench`: the layer table side by side with the engines that people use, and against the machine itself.

One process an engine; they take turns and are stopped outside them. `layers` is the table, `engines` the adapters,
`worker` the process of one engine, `crew` the parent's handles on them, `probe` the machine's own limits, `measure` the
order of a run, `score` the arithmetic of ratios, `record` the file of results, `report` and `charts` what people see.
`turns` keeps threads out of each other's way, here and in the scripts that have several engines in one process.
"""
