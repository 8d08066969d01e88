"""Volumes: the three operations in three dimensions, by upconv's 2-D kernels over the planes or torch's operator."""

from functools import lru_cache

import numpy as np
import torch

from .. import depth
from ..arrays import empty
from ..bilinear import SLOTS
from ..problem import NO_ACTIVATION
from ..runtime import pool
from ..settings import Settings
from .choice import VolumeProblem
from .contraction import LAYOUTS, Call, parsed
from .operands import NAMES, array, geometry_of, is_channels_last, operand, tensor
from .team import team

# For these torch's operator has no channels-last form in three dimensions.
FIRST_ONLY = (torch.float64, torch.int64, torch.complex64, torch.complex128)


class VolumeCall(Call):
    """The facts of one 3-D layer on one shape; see `Call`."""

    __slots__ = ()

    def problem(self, operation):
        """The VolumeProblem of one of the three operations."""
        layouts = {slot: LAYOUTS[last] for slot, last in self.last.items()}
        return VolumeProblem(operation, self.geometry, NAMES[self.dtype], layouts[SLOTS[operation][0]])

    def ours(self, operation, a, b, bias, activation=NO_ACTIVATION):
        """One operation on plain tensors, computed by upconv."""
        shape = self.shapes[SLOTS[operation][2]]
        out = empty(shape, self.numpy_dtype, LAYOUTS[self.is_last(operation)])
        pool.run_on(team(), self._run, operation, a, b, bias, activation, out)
        return tensor(out, self.dtype)

    def _run(self, operation, a, b, bias, activation, out):
        if operation == "forward":
            values = None if bias is None else array(bias)
            ends = {"activation": activation, "algorithm": self.algorithm}
            depth.forward(self.geometry, array(a), operand(b), values, out, **ends)
        elif operation == "grad_input":
            depth.grad_input(self.geometry, array(a), array(b), out)
        else:
            depth.grad_weight(self.geometry, array(a), array(b), out)

    def formatted(self, operation, result):
        """A result of torch's in the memory format that is promised."""
        last = self.is_last(operation)
        return result.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)


# Typed, since True equals 1 and is to be refused.
@lru_cache(maxsize=512, typed=True)
def volume_call_of(
    stride, padding, output_padding, groups, dilation, x_shape, x_strides, w_shape, w_strides, b_shape, dtype
):
    """The VolumeCall of settings in torch's forms and of operands of these shapes, after all checks."""
    settings = Settings.of(*parsed(stride, padding, output_padding, groups, dilation, 3), dimensions=3)
    geometry = geometry_of(settings, x_shape, w_shape, b_shape)
    last = {"x": is_channels_last(x_shape, x_strides), "w": is_channels_last(w_shape, w_strides)}
    last["y"] = (last["x"] or last["w"]) and dtype not in FIRST_ONLY
    call = VolumeCall(settings, geometry, dtype, last)
    depth.check_volume(call.geometry, np.dtype(call.numpy_dtype))
    return call
