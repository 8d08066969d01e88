"""The forms in which settings and arrays are written, for annotations; nothing here is imported when a program runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias, TypeVar

import numpy as np

#: One number for both axes, or (height, width).
Pair: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
#: Torch's padding; beyond torch, a pair of signed (lo, hi) crops, or a word.
Padding: TypeAlias = Pair | Sequence[Sequence[SupportsIndex]] | Literal["same", "same_lower", "valid"]
PaddingMode: TypeAlias = Literal["zeros", "circular", "reflect", "replicate"]
#: What a result passes through after the bias; a leaky ReLU with its slope, where it is not the usual one.
Activation: TypeAlias = Literal["relu", "leaky_relu", "tanh", "sigmoid"] | tuple[Literal["leaky_relu"], float]
Shape: TypeAlias = Sequence[SupportsIndex]
#: The parameters of a layer by name: arrays, or torch's tensors.
StateDict: TypeAlias = Mapping[str, Any]
#: The values of an array, which a result has in common with its operands.
Value = TypeVar("Value", bound=np.generic)
