"""What a value was made of, as it was: tensors, attributes, modules and hooks, and which of them has changed since.

A tensor's change shows in its identity, dtype, shape, strides or address, in its version counter, or in its elements,
since `.data`, EMA code and NumPy views leave the counter as it is. Small tensors are compared whole. Of a larger one a
sample is compared that has elements of every slice along every axis. So an edit of a whole channel or tap is always
seen, an edit of a hundredth of all elements is missed once in thousands of times, and one of a few elements through
`.data` can be missed.
"""

import numpy as np
import torch

WHOLE, SAMPLE = 2048, 1024
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# What a module holds that has no influence on what its forward returns.
SILENT = ("backward", "state_dict", "_hooks_with_kwargs", "_hooks_always_called", "_compiled_call_impl", "training")


class Seal:
    """What something was made of.

    tensors: {name: a function that finds the tensor now}
    facts: {name: a function that finds a value now}, values that can be compared
    """

    __slots__ = ("facts", "marks")

    def __init__(self, tensors, facts):
        self.marks = [Mark(name, find) for name, find in tensors.items()]
        self.facts = [(name, find, find()) for name, find in facts.items()]

    def broken(self):
        """The name of the first thing that has changed, or None."""
        for name, find, value in self.facts:
            if find() != value:
                return name
        return next((mark.name for mark in self.marks if mark.is_broken()), None)

    def is_replaced(self):
        """Whether another tensor stands in the place of one."""
        return any(mark.find() is not mark.tensor for mark in self.marks)

    def requires_grad(self):
        """Whether torch would record what is made of these tensors."""
        return any(mark.tensor is not None and mark.tensor.requires_grad for mark in self.marks)


class Mark:
    """One tensor as it was, or None where there was none."""

    __slots__ = ("dtype", "find", "name", "pointer", "sample", "strides", "tensor", "version", "view")

    def __init__(self, name, find):
        self.name, self.find, tensor = name, find, find()
        self.tensor = tensor
        if tensor is not None:
            self.version, self.pointer = version(tensor), tensor.data_ptr()
            self.dtype, self.strides = tensor.dtype, (tensor.shape, tensor.stride())
            self.view = Sampled(tensor) if has_elements(tensor) else None
            self.sample = None if self.view is None else self.view.values().clone()

    def is_broken(self):
        """Whether the tensor is another one, or holds something else."""
        tensor = self.find()
        if tensor is not self.tensor:
            return True
        return tensor is not None and (
            version(tensor) != self.version
            or tensor.data_ptr() != self.pointer
            or tensor.dtype is not self.dtype
            or (tensor.shape, tensor.stride()) != self.strides
            or not (self.view is None or torch.equal(self.view.values(), self.sample))
        )


def version(tensor):
    """The counter of a tensor's changes in place; tensors made in inference mode have none."""
    return None if tensor.is_inference() else tensor._version


def has_elements(tensor):
    """Whether there are elements in the memory of the CPU to look at."""
    return tensor.numel() > 0 and tensor.is_cpu and tensor.layout is torch.strided


class Sampled:
    """Elements of a tensor's memory, as integers so that a NaN equals itself: all of them, or a sample."""

    __slots__ = ("memory", "offsets")

    def __init__(self, tensor):
        tensor = tensor.detach()
        tensor = torch.view_as_real(stored(tensor)) if tensor.is_complex() else stored(tensor)
        memory, self.offsets = tensor.view(INTEGERS[tensor.element_size()]), None
        if memory.numel() > WHOLE:
            extent = 1 + sum((size - 1) * step for size, step in zip(memory.shape, memory.stride(), strict=True))
            self.offsets = offsets(memory.shape, memory.stride())
            memory = memory.as_strided((extent,), (1,))
        self.memory = memory

    def values(self):
        return self.memory if self.offsets is None else self.memory.index_select(0, self.offsets)


def stored(tensor):
    """The tensor as its memory is, without the bits that say that it is meant conjugated or negated."""
    if tensor.is_neg():
        tensor = torch._neg_view(tensor)
    return tensor.conj() if tensor.is_conj() else tensor


def offsets(shape, strides):
    """Places in a tensor's memory among which every index of every axis occurs."""
    random, found = np.random.default_rng(0), 0
    count = max(SAMPLE, *shape)
    for size, step in zip(shape, strides, strict=True):
        found = found + step * np.concatenate([random.permutation(size), random.integers(size, size=count - size)])
    return torch.from_numpy(np.unique(found))


def structure(module):
    """What one module is and holds, without its tensors' values and its children's insides, to be compared."""
    held = {name: value for name, value in vars(module).items() if not any(word in name for word in SILENT)}
    return type(module), type(module).forward, print_of(held)


def tensors_of(module):
    """{name: tensor} of all that one module holds, registered or not."""
    plain = {name: value for name, value in vars(module).items() if isinstance(value, torch.Tensor)}
    return {**module._parameters, **module._buffers, **plain}


class Same:
    """A value that is equal to nothing but itself."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Same) and self.value is other.value

    __hash__ = None


def print_of(value):
    """Numbers, words and plain containers of them by value, everything else by identity."""
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        # By its text, so that NaN equals itself and 1 is not True.
        return type(value), repr(value)
    if isinstance(value, dict):
        return type(value), [(print_of(key), print_of(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [print_of(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), frozenset(value)
    if isinstance(value, np.ndarray):
        return Same(value), value.tobytes()
    return Same(value)
