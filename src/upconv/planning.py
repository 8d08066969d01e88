"""Choosing an algorithm: rewrite the problem, ask every way why not and at what cost, make a `Plan` of the cheapest."""

from __future__ import annotations

from dataclasses import fields, replace
from numbers import Real
from typing import TYPE_CHECKING

from .activations import ACTIVATIONS
from .algorithms import ALGORITHMS
from .arrays import agree, as_array, native, preferred_layout
from .candidates import ask, cheapest
from .dtypes import DTYPES, lookup, parse
from .errors import SettingError
from .fitting import array_of, layout_of_result
from .layouts import STRIDED, map_layout, weight_layout
from .plans import Plan, remembered
from .prepared import PreparedVolume, PreparedWeight
from .problem import NO_ACTIVATION, Activation, Problem
from .settings import Settings, sizes

if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from . import typing
    from .typing import Padding, Pair, Shape

AUTO = "auto"


def plan(
    input: NDArray[Any] | Shape,
    weight: NDArray[Any] | PreparedWeight | Shape,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: SupportsIndex = 1,
    dilation: Pair = 1,
    *,
    dtype: DTypeLike | None = None,
    channels_last: bool = False,
    activation: typing.Activation | None = None,
    algorithm: str | Plan = AUTO,
) -> Plan:
    """Plan a `conv_transpose2d` without running it.

    Args:
        input, weight: arrays, or just their 4-D shapes; then `dtype` (float32) and `channels_last` say the rest. The
            weight may be prepared.
        activation: what the result passes through after the bias: "relu", "leaky_relu", ("leaky_relu", slope), "tanh",
            "sigmoid", or None.
        bias: ignored, so that the arguments of a call can be passed as they are.
        stride, padding, output_padding, groups, dilation, algorithm: as in `upconv.conv_transpose2d`.

    Returns:
        Plan: printable, callable as ``plan(x, w, b, out=None)``.

    Raises:
        SettingError, TypeError, NotImplementedError: as the call itself would.

    >>> plan((1, 64, 32, 32), (64, 32, 4, 4), stride=2, padding=1).macs
    32514048
    """
    settings = Settings.of(stride, padding, output_padding, groups, dilation)
    check_algorithm(algorithm)
    (x, x_shape), (w, w_shape) = _array_or_shape(input, "input"), _array_or_shape(weight, "weight")
    geometry = settings.geometry(x_shape, w_shape)
    arrays = [array for array in (x, w) if array is not None]
    if len(arrays) == 2:
        agree(input=x, weight=w)
    name = lookup(parse(dtype), "the plan").name if not arrays else arrays[0].dtype.name
    layout = "nhwc" if channels_last else preferred_layout(*map(array_of, arrays), is_batched=True)
    problem = Problem(
        "forward",
        geometry,
        name,
        layout,
        prepared=isinstance(w, PreparedWeight),
        activation=activation_of(activation, name),
        storage=w.storage if isinstance(w, PreparedWeight) else "",
    )
    if x is not None:
        problem = replace(problem, a_layout=map_layout(x.shape, x.strides, x.itemsize))
    if w is not None and not problem.prepared:
        problem = replace(problem, b_layout=weight_layout(w.shape, w.strides, w.itemsize))
    return choose(problem, algorithm)


def activation_of(value: typing.Activation | Activation | None, dtype: str) -> Activation:
    """The Activation that a user names: one of its names, or (name, slope)."""
    if value is None:
        return NO_ACTIVATION
    made = value if isinstance(value, Activation) else _named(value)
    if made.name != "none" and DTYPES[dtype].kind != "f":
        allowed = ", ".join(row.name for row in DTYPES.values() if row.kind == "f")
        raise SettingError(
            f"activation is {made.name!r} for {dtype}; allowed with one are {allowed}. Leave it out, and apply it to "
            "the result"
        )
    return made


def _named(value):
    name, *slope = value if isinstance(value, tuple | list) and len(value) in (1, 2) else (value,)
    # A name that is not in the table is refused with those that are.
    is_sloped = isinstance(name, str) and (name not in ACTIVATIONS or ACTIVATIONS[name].has_slope)
    if not isinstance(name, str) or (slope and not (is_sloped and isinstance(slope[0], Real))):
        pairs = ", ".join(f"({each!r}, a number)" for each, row in ACTIVATIONS.items() if row.has_slope)
        raise TypeError(f"activation is {value!r}; it must be one of {', '.join(ACTIVATIONS)}, or {pairs}, or None")
    return Activation(name, *slope)


def _array_or_shape(value, name):
    if isinstance(value, PreparedWeight | PreparedVolume):
        array, shape = value, value.shape
    elif hasattr(value, "dtype"):
        array = as_array(value, name)
        shape = array.shape
    else:
        array, shape = None, sizes(value, name)
    if len(shape) != 4:
        raise SettingError(f"{name} has shape {shape}; a plan needs all 4 sizes")
    return array, shape


def solve(problem, algorithm, a, b, bias, out, directly=None):
    """Choose for operands as they lie, and compute: for doors, which have checked everything.

    Args:
        problem: what is computed; the layouts that it names are those of fresh arrays.
        algorithm, a, b, bias, out: as in `Plan.run`, and as in `choose`.
        directly: a function of the Plan that is asked first, and says whether it has computed.

    Returns:
        The Plan that was made; None where one was given, or there is nothing to compute.
    """
    if isinstance(algorithm, Plan):
        _check_same(algorithm.problem, problem, ("operation", "geometry", "dtype", "activation"))
        algorithm.run(a, b, bias, out)
        return None
    if not out.size:
        return None
    a, bias, target = native(a), None if bias is None else native(bias), native(out)
    b = b if isinstance(b, PreparedWeight) else native(b)
    made = plan_as_they_lie(problem, algorithm, a, b, target)
    if directly is None or not directly(made):
        made.execute(a, b, bias, target)
    if target is not out:
        out[...] = target
    return made


def ask_whether(problem, algorithm, a, b, bias, out, directly=None):
    """Refuse what `solve` would refuse of operands and a name, and compute nothing."""
    if out.size:
        plan_as_they_lie(problem, algorithm, native(a), b if isinstance(b, PreparedWeight) else native(b), native(out))


def plan_as_they_lie(problem, algorithm, a, b, out) -> Plan:
    """The plan that `solve` makes for native operands and a result of which it knows how they lie, no more."""
    prepared = isinstance(b, PreparedWeight)
    if prepared and b.storage:
        problem = replace(problem, storage=b.storage)
    aligned = a.flags.aligned, prepared or b.flags.aligned, out.flags.aligned
    return fitted(problem, algorithm, a.strides, None if prepared else b.strides, out.strides, aligned)


@remembered
def fitted(problem, algorithm, a, b, out, aligned=(True, True, True)) -> Plan:
    """The plan of a problem for operands and a result with these strides in bytes; no `b`: a prepared weight."""
    size, (a_shape, b_shape) = problem.itemsize, problem.operand_shapes
    label = map_layout if problem.operation == "grad_weight" else weight_layout
    a_layout = map_layout(a_shape, a, size) if aligned[0] else STRIDED
    b_layout = (label(b_shape, b, size) if aligned[1] else STRIDED) if b is not None else None
    layout = layout_of_result(problem.operation, problem.result_shape, out, size) if aligned[2] else STRIDED
    # They nearly always lie as fresh arrays do, and a problem takes longer to make than to look at.
    they_lie = a_layout, b_layout, layout, b is None
    if they_lie != (problem.a_layout, problem.b_layout, problem.layout, problem.prepared):
        problem = replace(problem, a_layout=a_layout, b_layout=b_layout, layout=layout, prepared=b is None)
    return _chosen(problem, algorithm)


def choose(problem: Problem, algorithm: str | Plan = AUTO) -> Plan:
    """The plan of a problem: by the cheapest algorithm that does not refuse, or the one named.

    Raises:
        TypeError: for an unknown name.
        SettingError: when the algorithm named refuses, or a ready plan was made for another problem.
    """
    return _chosen(problem, algorithm)


# Without a default, since an argument that is left out and one that is given would be remembered as two.
@remembered
def _chosen(problem, algorithm):
    if isinstance(algorithm, Plan):
        _check_same(algorithm.problem, problem, [each.name for each in fields(Problem) if each.compare])
        return algorithm
    if algorithm == AUTO:
        return Plan(problem, *cheapest(problem))
    check_algorithm(algorithm)
    found = cheapest(problem, (algorithm,))
    if found is None:
        refusals = ask(algorithm, problem).refusals
        raise SettingError(f"{algorithm} refuses: {'; '.join(refusals)}; use algorithm='auto'")
    return Plan(problem, *found)


def _check_same(planned, problem, names):
    """Refuse a plan of a problem that is another one in what these attributes say."""
    pairs = ((name, getattr(planned, name), getattr(problem, name)) for name in names)
    different = [f"its {name} is {was}, and here it is {now}" for name, was, now in pairs if was != now]
    if different:
        raise SettingError(f"the plan given was made for another problem: {'; '.join(different)}; plan this one anew")


def check_algorithm(algorithm: str | Plan) -> None:
    """Refuse all but "auto", names and plans, before any work."""
    if not isinstance(algorithm, Plan):
        _check_word(algorithm, "'auto', a Plan, or one of")


def check_algorithm_name(algorithm: str) -> None:
    """Refuse all but "auto" and names, where a call is not the one 2-D problem of arrays that a plan is made for."""
    if isinstance(algorithm, Plan):
        raise TypeError(
            f"algorithm is a Plan, which is made for one 2-D problem of arrays; here it must be {AUTO!r} or the name "
            "of an algorithm"
        )
    _check_word(algorithm, "'auto' or one of")


def _check_word(algorithm, allowed):
    # What is no word may have no hash.
    if not isinstance(algorithm, str) or (algorithm != AUTO and algorithm not in ALGORITHMS):
        raise TypeError(f"algorithm is {algorithm!r}; it must be {allowed} {', '.join(ALGORITHMS)}")
