"""`with active():` torch's own names compute with upconv."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .functional import conv_transpose1d, conv_transpose2d, conv_transpose3d

REPLACED = {
    torch.conv_transpose1d: conv_transpose1d,
    torch.conv_transpose2d: conv_transpose2d,
    torch.conv_transpose3d: conv_transpose3d,
}


class active(TorchFunctionMode):
    """Within it, this thread's calls of torch's transposed convolutions are upconv's.

    That is `torch.nn.functional.conv_transpose2d`, `torch.conv_transpose2d`, the layers that call them, and the same in
    one dimension and in three; nothing else changes. It may be nested, ends with the block even by an exception, and
    concerns no other thread. Backward passes of what was computed within it may run after it.

    >>> with active():
    ...     torch.nn.ConvTranspose2d(1, 1, 2, stride=2)(torch.zeros(1, 1, 2, 2)).shape
    torch.Size([1, 1, 4, 4])
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return REPLACED.get(func, func)(*args, **(kwargs or {}))
