"""The functions: `torch.nn.functional.conv_transpose1d`, `conv_transpose2d` and `conv_transpose3d`, by upconv."""

import torch
from torch import Tensor
from torch.nn.functional import BroadcastingList1, BroadcastingList2, BroadcastingList3

from . import beyond, dispatch


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: BroadcastingList2[int] = 1,
    padding: BroadcastingList2[int] = 0,
    output_padding: BroadcastingList2[int] = 0,
    groups: int = 1,
    dilation: BroadcastingList2[int] = 1,
    padding_mode: str = "zeros",
    algorithm: str = "auto",
) -> Tensor:
    """Transposed 2-D convolution, with the contract of `torch.nn.functional.conv_transpose2d`.

    Args:
        input: (n, c_in, h, w), or (c_in, h, w) without a batch.
        weight: (c_in, c_out // groups, k_h, k_w), of the same dtype.
        bias: (c_out,) or None.
        stride, padding, output_padding, dilation: an int or (height, width).
        groups: number of independent groups of channels; divides c_in.
        padding_mode: beyond torch, "circular", "reflect" or "replicate": the adjoint of a `Conv2d` with that
            padding_mode. `padding` goes beyond torch as well: "same", "same_lower", "valid", or a pair of signed
            (lo, hi) crops (see `upconv.conv_transpose2d`). TorchScript has neither.
        algorithm: beyond torch, "auto" or the name of one of upconv's, which then computes this call, or refuses it;
            its gradients are left to the choice. TorchScript does not look at it.

    Returns:
        (n, c_out, h_out, w_out), unbatched if the input is; channels-last in memory if the input or the weight is.

    Raises:
        SettingError: settings or shapes that do not fit, or tensors of different dtypes (a RuntimeError and a
            ValueError).
        TypeError: settings that are not integers.

    Tensors that are not upconv's to compute (see `upconv.torch`) get torch's operator, its refusals included.

    >>> conv_transpose2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), stride=2).shape
    torch.Size([1, 1, 4, 4])
    """
    # TorchScript compiles the first branch alone.
    if torch.jit.is_scripting():
        return torch.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    elif beyond.is_beyond(padding, padding_mode):
        return beyond.transpose(
            input, weight, bias, stride, padding, output_padding, groups, dilation, padding_mode, algorithm
        )
    elif algorithm != "auto":
        return dispatch.by_name(algorithm, 2, input, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        return dispatch.transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: BroadcastingList1[int] = 1,
    padding: BroadcastingList1[int] = 0,
    output_padding: BroadcastingList1[int] = 0,
    groups: int = 1,
    dilation: BroadcastingList1[int] = 1,
    algorithm: str = "auto",
) -> Tensor:
    """Transposed 1-D convolution, with the contract of `torch.nn.functional.conv_transpose1d`: a map of height 1.

    Args:
        input: (n, c_in, length), or (c_in, length) without a batch.
        weight: (c_in, c_out // groups, k), of the same dtype.
        bias: (c_out,) or None.
        stride, padding, output_padding, dilation: an int, or one in a sequence.
        groups: number of independent groups of channels; divides c_in.
        algorithm: as in `conv_transpose2d`.

    Returns:
        (n, c_out, length_out), unbatched if the input is.

    Raises:
        SettingError, TypeError: as in `conv_transpose2d`.

    >>> conv_transpose1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2), stride=2).shape
    torch.Size([1, 1, 8])
    """
    if torch.jit.is_scripting():
        return torch.conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    elif algorithm != "auto":
        return dispatch.by_name(algorithm, 1, input, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        return dispatch.transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: BroadcastingList3[int] = 1,
    padding: BroadcastingList3[int] = 0,
    output_padding: BroadcastingList3[int] = 0,
    groups: int = 1,
    dilation: BroadcastingList3[int] = 1,
    algorithm: str = "auto",
) -> Tensor:
    """Transposed 3-D convolution, with the contract of `torch.nn.functional.conv_transpose3d`.

    Args:
        input: (n, c_in, d, h, w), or (c_in, d, h, w) without a batch.
        weight: (c_in, c_out // groups, k_d, k_h, k_w), of the same dtype.
        bias: (c_out,) or None.
        stride, padding, output_padding, dilation: an int or (depth, height, width).
        groups: number of independent groups of channels; divides c_in.
        algorithm: as in `conv_transpose2d`.

    Returns:
        (n, c_out, d_out, h_out, w_out), unbatched if the input is.

    Raises:
        SettingError, TypeError: as in `conv_transpose2d`.

    While torch compiles, this is torch's operator.

    >>> conv_transpose3d(torch.ones(1, 1, 2, 4, 4), torch.ones(1, 1, 1, 2, 2), stride=(1, 2, 2)).shape
    torch.Size([1, 1, 2, 8, 8])
    """
    if torch.jit.is_scripting():
        return torch.conv_transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    elif algorithm != "auto":
        return dispatch.by_name(algorithm, 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        return dispatch.transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)
