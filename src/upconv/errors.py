"""The one exception class of the package.

A transposed convolution that cannot be is refused in the same way by every door: PyTorch's users catch `RuntimeError`,
NumPy's users catch `ValueError`, so `SettingError` is both.
"""


class SettingError(RuntimeError, ValueError):
    """A setting, shape or value that does not describe a transposed convolution.

    The message says what was received, what is allowed, and the nearest setting that works.

    >>> issubclass(SettingError, RuntimeError) and issubclass(SettingError, ValueError)
    True
    """
