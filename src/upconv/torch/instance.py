"""What `accelerate` puts on a layer of torch's: a forward of its own. The class stays torch's.

Tools keep tables by class (quantization, fuse_modules, torch.fx, counters of FLOPs, initialisers that compare types),
so a layer must go on being what it was. A function on the instance, bound to it, is what `Module.__call__` finds first.
`copy.deepcopy` binds it to the copy, TorchScript compiles it, and in a file it is torch's own forward, so that a file
needs no upconv where it is loaded. What it cannot follow is `copy.copy` of a layer, whose copy goes on computing with
the layer that it was copied from.

Beside it a layer has one attribute, a `state.State`.
"""

from types import MethodType

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils import parametrize

from . import dispatch
from .module import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, LazyConvTranspose2d, compute
from .sharded import beneath
from .state import STATE, left, make_state, state_of

# As torch has them, taken before anybody can put something else in their places.
FORWARDS = {
    1: torch.nn.ConvTranspose1d.forward,
    2: torch.nn.ConvTranspose2d.forward,
    3: torch.nn.ConvTranspose3d.forward,
}
OURS = {ConvTranspose1d: 1, ConvTranspose2d: 2, LazyConvTranspose2d: 2, ConvTranspose3d: 3}
MADE = tuple(OURS)
DIMENSIONS = {
    torch.nn.ConvTranspose1d: 1,
    torch.nn.LazyConvTranspose1d: 1,
    torch.nn.ConvTranspose2d: 2,
    torch.nn.LazyConvTranspose2d: 2,
    torch.nn.ConvTranspose3d: 3,
    torch.nn.LazyConvTranspose3d: 3,
    **OURS,
}


TAKEN = {
    1: ("conv_transpose1d", dispatch.THEIRS_1D),
    2: ("conv_transpose2d", dispatch.THEIRS),
    3: ("conv_transpose3d", dispatch.THEIRS_3D),
}


def kind_of(module):
    """The class of a module beneath its parametrizations, and beneath what FSDP has made of it."""
    kind = beneath(type(module))
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def is_traced(input):
    """Whether something looks on that must see a module as torch would run it."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or not isinstance(input, Tensor)
        or torch._C._len_torch_dispatch_stack() > 0
    )


def forward1d(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
    """As `torch.nn.ConvTranspose1d.forward`, by upconv."""
    # TorchScript compiles the first branch alone.
    if torch.jit.is_scripting():
        padding = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, 1, self.dilation
        )
        return torch.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
        )
    else:
        return apply(self, 1, input, output_size)


def forward2d(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
    """As `torch.nn.ConvTranspose2d.forward`, by upconv."""
    if torch.jit.is_scripting():
        padding = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, 2, self.dilation
        )
        return torch.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
        )
    else:
        return apply(self, 2, input, output_size)


def forward3d(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
    """As `torch.nn.ConvTranspose3d.forward`, by upconv."""
    if torch.jit.is_scripting():
        padding = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, 3, self.dilation
        )
        return torch.conv_transpose3d(
            input, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation
        )
    else:
        return apply(self, 3, input, output_size)


# By this name a pickle finds the forward of the layer's class.
forward1d.__name__ = forward2d.__name__ = forward3d.__name__ = "forward"
INSTALLED = {1: forward1d, 2: forward2d, 3: forward3d}
# Every function that upconv puts on modules; `fusion` adds its own.
FUNCTIONS = {forward1d, forward2d, forward3d}


def apply(layer, dimensions, input, output_size=None):
    """One call of a layer that upconv's forward was put on."""
    state = state_of(layer)
    if is_replaced(layer, dimensions):
        return type(layer).forward(layer, input, output_size)
    if output_size is None and layer.padding_mode == "zeros" and not is_compiling():
        known = left(layer, state, input)
        if known is not None:
            weight, bias, settings = known
            return TAKEN[dimensions][1](input, weight, bias, *settings)
    measured = None if state is None else state.measured
    if state is None or state.frozen is None or is_traced(input):
        return compute(layer, dimensions, input, output_size, layer.weight, layer.bias, measured)
    return compute(layer, dimensions, input, output_size, *state.frozen.checked(layer, input), measured)


def is_replaced(layer, dimensions):
    """Whether somebody has put something in the place of torch's class's forward or function: a counter, for example.

    In a class of upconv's own there is nothing of torch's to replace.
    """
    if isinstance(layer, MADE):
        return False
    name, taken = TAKEN[dimensions]
    return getattr(torch.nn.functional, name) is not taken or type(layer).forward is not FORWARDS[dimensions]


def put_on(layer):
    """Give a layer upconv's forward, bound to it."""
    vars(layer)["forward"] = MethodType(INSTALLED[DIMENSIONS[kind_of(layer)]], layer)
    make_state(layer)


def take_off(module):
    """Give a module its class's forward back, and forget what is remembered of it. Others' forwards are left alone."""
    if is_put_on(module) or is_own_forward(module):
        del vars(module)["forward"]
    vars(module).pop(STATE, None)


def is_put_on(module):
    """Whether a forward of upconv's is on a module (that of another one on a shallow copy)."""
    return getattr(vars(module).get("forward"), "__func__", None) in FUNCTIONS


def is_own_forward(module):
    """Whether what is on a module is its class's forward: so it is in one that was loaded from a file."""
    found = getattr(vars(module).get("forward"), "__func__", None)
    return found is not None and found is type(module).forward


def is_foreign(module):
    """Whether somebody else's forward is on a module."""
    return "forward" in vars(module) and not is_put_on(module) and not is_own_forward(module)
