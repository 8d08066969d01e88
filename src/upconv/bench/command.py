"""The command `upconv bench`."""

import sys
from pathlib import Path

from ..files import check_output
from . import engines, record
from .charts import write_charts
from .crew import EngineError
from .layers import matching
from .measure import Bench, GateError, Options, progress_bar
from .report import compare, report

INTERRUPTED = 130
WRONG = 1
ROUNDS, SECONDS = 5, 0.08
QUICK_ROUNDS, QUICK_SECONDS = 3, 0.02


def add_arguments(parser):
    """The options of `upconv bench`."""
    add = parser.add_argument
    add("--only", metavar="PATTERN", help="rows by part of their names, or with * and ?; separated by commas")
    add(
        "--engines", metavar="LIST", help=f"of {', '.join(engines.ENGINES)}; all; default: those installed, without jax"
    )
    add("--threads", type=int, default=1, metavar="N", help="of every engine (1)")
    add("--isa", metavar="NAME", help="force an instruction set on upconv and the probe")
    add("--rounds", type=int, metavar="N", help=f"turns of each engine on a row ({ROUNDS})")
    add("--seconds", type=float, metavar="S", help=f"length of a turn ({SECONDS})")
    add("--limit", type=float, metavar="R", help="a stated time over the yardstick, near which rows are timed again")
    add("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds of {QUICK_SECONDS} s: to look, not to report")
    add("--json", metavar="FILE", help="write everything measured to FILE")
    add(
        "--charts", metavar="DIR", help="draw the roofline and the ratios into DIR (PNG too if matplotlib is installed)"
    )
    add("--from", metavar="FILE", dest="source", help="report on an earlier --json file instead of running")
    add("--compare", nargs=2, metavar=("A", "B"), help="compare two --json files and do nothing else")


def run(options) -> int:
    """Run the command; gives 0, 1 when an output of upconv is wrong, 130 when interrupted.

    Raises:
        ValueError: for unknown rows or engines, and files that are not records.
        OSError: for files that cannot be read or written.
    """
    if options.compare:
        print(_compared(*options.compare))
        return 0
    if options.source:
        return _tell(record.read(options.source), options)
    chosen, missing = _chosen(options)
    if options.json:
        check_output(options.json)
    bench, status = Bench(chosen), 0
    try:
        with progress_bar(chosen.steps, sys.stderr) as bench.progress:
            bench.run()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (GateError, EngineError) as error:
        print(f"upconv bench: {error}", file=sys.stderr)
        return WRONG
    if bench.rows or not status:
        _tell(record.make(bench.rows, _options(chosen), complete=not status, missing=missing), options)
    return status


def _compared(*paths):
    records = [record.read(path) for path in paths]
    try:
        return compare(*records)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{' and '.join(paths)} hold other rows than upconv bench writes ({error!r})") from None


def _chosen(options):
    """(Options, {engine: why it cannot take part})."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (ROUNDS, SECONDS)
    rounds = rounds if options.rounds is None else options.rounds
    seconds = seconds if options.seconds is None else options.seconds
    for name, value in (("--rounds", rounds), ("--threads", options.threads)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if not seconds > 0:
        raise ValueError(f"--seconds is {seconds}; it must be above 0")
    names, missing = engines.resolve(options.engines)
    layers = matching(options.only)
    return Options(layers, names, rounds, seconds, options.threads, options.isa, options.limit), missing


def _options(chosen):
    """What was chosen, as plain values."""
    return {
        "rows": [layer.name for layer in chosen.layers],
        "engines": chosen.engines,
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "threads": chosen.threads,
        "isa": chosen.isa,
        "limit": chosen.limit,
    }


def _tell(results, options):
    """Print the report; write the files that were asked for."""
    if options.json and not options.source:
        record.write(options.json, results)
    print(report(results))
    if options.charts:
        for path in write_charts(results, Path(options.charts)):
            print(f"wrote {path}")
    return 0
