"""`ConvTranspose1d`, `ConvTranspose2d` and `ConvTranspose3d` for NumPy: torch's layers without torch."""

from __future__ import annotations

from .layer import IncompatibleKeys, Layer

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "IncompatibleKeys"]


class ConvTranspose2d(Layer):
    """A transposed 2-D convolution with its parameters; constructor, repr and state_dict are those of torch's layer.

    Args:
        in_channels, out_channels: channels of the input and of the output; both divisible by `groups`.
        kernel_size, stride, padding, output_padding, dilation: an int, or (height, width). `padding` and `padding_mode`
            also take what goes beyond torch (see `upconv.conv_transpose2d`).
        groups: independent groups of channels.
        bias: whether there is a bias.
        device: None or "cpu".
        dtype: of the parameters, float32 by default.
        rng: a `numpy.random.Generator` or a seed for the initial values.
        storage: "float16" or "bfloat16": the weight is read in these halves, see `upconv.prepare`; its array stays.

    The parameters are copied when assigned and handed out as read-only views, so nothing changes behind a layer's back:
    change a copy and assign it. So the weight is packed once, when it is first used, for inputs of every size. Initial
    values are uniform on (-sqrt(q), sqrt(q)) with q = groups / (out_channels * k_h * k_w), the weight drawn before the
    bias.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose2d`, as soon as it is certain.

    >>> import numpy as np
    >>> layer = ConvTranspose2d(16, 33, 3, stride=2, rng=0)
    >>> layer
    ConvTranspose2d(16, 33, kernel_size=(3, 3), stride=(2, 2))
    >>> layer(np.zeros((20, 16, 50, 100), np.float32)).shape
    (20, 33, 101, 201)
    """

    dimensions = 2


class ConvTranspose1d(Layer):
    """A transposed 1-D convolution with its parameters; constructor, repr and state_dict are those of torch's layer.

    The arguments are those of `ConvTranspose2d` with one number for the one axis, the input's those of
    `conv_transpose1d`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose1d`, as soon as it is certain.

    >>> import numpy as np
    >>> layer = ConvTranspose1d(4, 2, 4, stride=2, padding=1, rng=0)
    >>> layer
    ConvTranspose1d(4, 2, kernel_size=(4,), stride=(2,), padding=(1,))
    >>> layer(np.zeros((1, 4, 10), np.float32)).shape
    (1, 2, 20)
    """

    dimensions = 1


class ConvTranspose3d(Layer):
    """A transposed 3-D convolution with its parameters; constructor, repr and state_dict are those of torch's layer.

    The arguments are those of `ConvTranspose2d` with (depth, height, width), the input's those of `conv_transpose3d`.

    Raises:
        SettingError, TypeError, NotImplementedError: as in `upconv.conv_transpose3d`, as soon as it is certain.

    >>> import numpy as np
    >>> layer = ConvTranspose3d(4, 2, 2, stride=2, rng=0)
    >>> layer
    ConvTranspose3d(4, 2, kernel_size=(2, 2, 2), stride=(2, 2, 2))
    >>> layer(np.zeros((1, 4, 3, 5, 5), np.float32)).shape
    (1, 2, 6, 10, 10)
    """

    dimensions = 3
