"""What a layer remembers beside its parameters, in one attribute of its own: `STATE`."""

from torch import Tensor

from .measurements import Measurements

STATE = "_upconv"


class State:
    """What is remembered of a layer.

    Attributes:
        measured: `measurements.Measurements`.
        frozen: `frozen.Frozen`, or None.
        split: whether the layer is not to be fused, since that differed on the example.
    """

    def __init__(self):
        self.measured, self.frozen, self.split = Measurements(), None, False

    def __deepcopy__(self, memo):
        made = State()
        made.measured.update(self.measured)
        made.split = self.split
        made.frozen = None if self.frozen is None else self.frozen.anew()
        return made

    def __reduce__(self):
        return type(None), ()


def state_of(layer):
    """The State of a layer, or None: also in a layer from a file, which has forgotten it."""
    return vars(layer).get(STATE)


def make_state(layer):
    """The State of a layer, made if it has none."""
    state = state_of(layer)
    if state is None:
        state = vars(layer)[STATE] = State()
    return state


def left(layer, state, input):
    """(weight, bias, settings) of a call that was torch's before, so that a small layer need not wait until all is
    looked at once more; None for any other. Nobody may be compiling."""
    if state is None or state.frozen is not None or type(input) is not Tensor:
        return None
    return state.measured.left(layer, input)
