"""Frozen layers: their operands are taken once, and a change of what they were taken from is an error.

What freezing saves is whatever makes the weight in every call: weight_norm, spectral_norm, other parametrizations. The
kernels still put the weight in their own order in every call; that is a few per cent, and it is not saved.

A change shows in the version counter of a parameter, in its identity, in its address, or in a sample of its elements,
since `.data`, EMA code and NumPy views leave the counter as it is. The sample is 64 elements spread over the whole, so
an edit through `.data` of a few elements alone can pass unseen.
"""

from contextlib import contextmanager

import torch

from ..errors import SettingError
from .module import ConvTranspose1d, ConvTranspose2d
from .operands import is_plain

# The one attribute that a frozen layer or a fused sequence has and torch's has not.
STATE = "_upconv"
SAMPLE = 64
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Mark:
    """One parameter or buffer as it was: where it is held, and how to see that it has changed."""

    __slots__ = ("holder", "name", "pointer", "sample", "tensor", "version", "view")

    def __init__(self, holder, name):
        self.holder, self.name, self.tensor = holder, name, holder[name]
        self.version, self.pointer = version(self.tensor), self.tensor.data_ptr()
        self.view = some(self.tensor)
        self.sample = None if self.view is None else self.view.clone()

    def is_broken(self):
        """Whether the tensor is another one, or holds something else."""
        tensor = self.holder.get(self.name)
        return (
            tensor is not self.tensor
            or version(tensor) != self.version
            or tensor.data_ptr() != self.pointer
            or not (self.view is None or torch.equal(self.view, self.sample))
        )


def version(tensor):
    """The counter of a tensor's changes in place; tensors made in inference mode have none."""
    return None if tensor.is_inference() else tensor._version


def some(tensor):
    """Elements spread over a tensor's memory, viewed as integers so that a NaN equals itself; None if it has none."""
    if not tensor.numel():
        return None
    tensor = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    # The strides of a dense tensor in any order reach exactly its own elements.
    order = sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis))
    if tensor.permute(order).is_contiguous():
        step = max(1, tensor.numel() // SAMPLE)
        tensor = tensor.as_strided((-(-tensor.numel() // step),), (step,))
    return tensor.view(INTEGERS[tensor.element_size()])


class Seal:
    """Everything that some modules hold, parametrizations included, as it was."""

    def __init__(self, *modules):
        holders = [h for module in modules for m in module.modules() for h in (m._parameters, m._buffers)]
        held = [(holder, name) for holder in holders for name in holder if holder[name] is not None]
        self.marks = [Mark(holder, name) for holder, name in held if name != "num_batches_tracked"]

    def broken(self):
        """The name of the first tensor that has changed, or None."""
        return next((mark.name for mark in self.marks if mark.is_broken()), None)

    def is_differentiated(self, input):
        """Whether torch would record the call of a layer that is made of these tensors."""
        return torch.is_grad_enabled() and (input.requires_grad or any(m.tensor.requires_grad for m in self.marks))


@contextmanager
def evaluating(model):
    """Evaluation mode within it, without calling anybody's `train`: spectral_norm changes its buffers in the other."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class Frozen:
    """The operands of one frozen layer. A copy of the layer, or one from a file, takes its own at its first call."""

    def __init__(self):
        self.sealed = self.weight = self.bias = None

    def __reduce__(self):
        return Frozen, ()

    def why_not(self, module):
        """Why a layer cannot be frozen, as a sentence; empty where it can."""
        held = [*module.parameters(), *module.buffers()]
        if not all(is_plain(tensor) for tensor in held):
            return "its parameters are not dense tensors of upconv's dtypes on the CPU"
        if "weight" in vars(module):
            return (
                "a hook makes its weight in every call (torch.nn.utils.parametrizations has norms that can be frozen)"
            )
        return ""

    def seal(self, module):
        """Take copies of the operands as they are now."""
        with torch.no_grad(), evaluating(module):
            self.weight = module.weight.clone()
            self.bias = None if module.bias is None else module.bias.clone()
        self.sealed = Seal(module)

    def operands(self, module):
        """(weight, bias) as they were sealed.

        Raises:
            SettingError: if something they were made of has changed since.
        """
        if self.sealed is None:
            self.seal(module)
        changed = self.sealed.broken()
        if changed is not None:
            raise SettingError(
                f"{changed} of a frozen layer has changed since it was frozen: call upconv.torch.accelerate(model, "
                "frozen=True) again to take it over, or upconv.torch.restore(model) before changing it"
            )
        return self.weight, self.bias

    def checked(self, module, input):
        """The operands, for a call that nobody will differentiate.

        Raises:
            SettingError: if torch would record the call, or something has changed.
        """
        operands = self.operands(module)
        if self.sealed.is_differentiated(input):
            raise SettingError(
                "a frozen layer has no gradients: call the model under torch.no_grad() or torch.inference_mode(), or "
                "upconv.torch.accelerate(model) without frozen to train it"
            )
        return operands


def is_traced():
    """Whether something looks on that must see the layer as torch would run it."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class FrozenConvTranspose2d(ConvTranspose2d):
    """A `ConvTranspose2d` that computes with its operands as they were when it was frozen."""

    def forward(self, input, output_size=None):
        """As `ConvTranspose2d.forward`, without gradients."""
        if is_traced():
            return super().forward(input, output_size)
        return self._compute(input, output_size, *vars(self)[STATE].checked(self, input))


class FrozenConvTranspose1d(ConvTranspose1d):
    """A `ConvTranspose1d` that computes with its operands as they were when it was frozen."""

    def forward(self, input, output_size=None):
        """As `ConvTranspose1d.forward`, without gradients."""
        if is_traced():
            return super().forward(input, output_size)
        return self._compute(input, output_size, *vars(self)[STATE].checked(self, input))


FROZEN = {ConvTranspose1d: FrozenConvTranspose1d, ConvTranspose2d: FrozenConvTranspose2d}
