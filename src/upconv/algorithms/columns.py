"""Ways of whole rows on maps that are narrow and high: columns are computed as rows, transposed in scratch.

They fill their vectors then. Products are added up in the order of columns, so each is a way by another name.
"""

from functools import partial
from types import ModuleType

from ..problem import Problem
from ..runtime.kernel import isa
from ..schedule.rows import vectors

ASKED = "why_never", "weight_form", "work", "program", "order_of_sums"


def by_columns(rows: ModuleType) -> ModuleType:
    """The module of a way of whole rows for columns: what depends on which is asked `by_columns`."""

    def why_not_automatic(problem: Problem) -> list[str]:
        lanes = isa().lanes(problem.itemsize)
        if rows.why_never(problem) or vectors(problem, lanes, by_columns=True) < vectors(problem, lanes):
            return []
        return ["columns fill no fewer vectors than rows, which need not be transposed"]

    made = ModuleType(f"{rows.__name__}_by_columns", __doc__)
    vars(made).update({name: value for name, value in vars(rows).items() if not name.startswith("__")})
    vars(made).update({name: partial(getattr(rows, name), by_columns=True) for name in ASKED if hasattr(rows, name)})
    vars(made).update(why_not_automatic=why_not_automatic)
    return made
