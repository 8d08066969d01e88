"""upconv for PyTorch: torch's transposed convolutions, computed by upconv's kernels where these are faster.

    conv_transpose1d, conv_transpose2d, conv_transpose3d       instead of torch.nn.functional's
    ConvTranspose1d, 2d, 3d, LazyConvTranspose2d               instead of torch.nn's, whose subclasses they are
    StreamingConvTranspose1d                                   a 1-D layer over a signal in chunks
    accelerate(model), restore(model)                          a whole model's layers become upconv's, and torch's again
    active()                                                   within it, torch's own names compute with upconv

What is not ours to compute goes to PyTorch's operator: other devices and dtypes, sparse, quantized, nested and meta
tensors, subclasses, whatever is being traced, scripted or exported, half precision where oneDNN has instructions for
it, and layers so small that the operator is done before a call could begin. A weight is copied, and kept in
packed form, only where `accelerate` is asked to freeze or fuse.

The derivatives are one `autograd.Function` (see `derivatives`), with a registered operator beside it for the compiler,
which refuses functions that have a forward mode. Overriding aten::convolution and its backward was tried first, since
torch's formulas would then give every derivative. But an override holds for the whole process and for good, because the
backward runs long after the call, so every ordinary convolution passes through Python: 9.3 us for the smallest
`conv2d` instead of 3.8, the GIL taken by models that never asked for upconv, and no oracle left to test against.
"""

from .accelerate import accelerate, restore
from .active import active
from .functional import conv_transpose1d, conv_transpose2d, conv_transpose3d
from .module import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, LazyConvTranspose2d
from .streaming import StreamingConvTranspose1d

__all__ = [
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConvTranspose2d",
    "StreamingConvTranspose1d",
    "accelerate",
    "active",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "restore",
]
