"""The checks of the operator that ship inside the torch wheel, with ours in place, and torch's as the oracle."""

import warnings

import pytest
from require import require

torch = require("torch")
ut = require("upconv.torch")
THEIRS = torch.nn.functional.conv_transpose2d

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    require("expecttest")
    # The table looks the function up when it is imported.
    torch.nn.functional.conv_transpose2d = ut.conv_transpose2d
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    finally:
        torch.nn.functional.conv_transpose2d = THEIRS

INFO = next(info for info in op_db if info.name == "nn.functional.conv_transpose2d")
DTYPES = sorted(INFO.supported_dtypes("cpu"), key=str)
DIFFERENTIABLE = [dtype for dtype in DTYPES if dtype.is_floating_point or dtype.is_complex]
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5, torch.complex64: 1e-5}


def samples(dtype, requires_grad=False):
    found = list(INFO.sample_inputs("cpu", dtype, requires_grad=requires_grad))
    assert len(found) >= 8
    return [(sample.input, *sample.args, sample.kwargs) for sample in found]


def wide(tensor):
    if tensor is None or tensor.dtype == torch.int64:
        return tensor
    tensor = tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)
    return tensor.requires_grad_()


def close(got, want, dtype):
    tolerance = TOLERANCE.get(dtype, 1e-12)
    torch.testing.assert_close(got.to(want.dtype), want, rtol=tolerance, atol=tolerance * 20)


def test_the_table_holds_ours_and_the_oracle_is_torchs():
    assert INFO.op is ut.conv_transpose2d
    assert THEIRS is ut.dispatch.THEIRS is torch.conv_transpose2d
    assert len(DTYPES) >= 7


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_sample_gives_torchs_values_and_layout(dtype, ours):
    for input, *operands, settings in samples(dtype):
        got, want = INFO.op(input, *operands, **settings), THEIRS(input, *operands, **settings)
        assert got.dtype == dtype
        assert got.stride() == want.stride()
        wide_input, *wide_operands = map(wide, (input, *operands))
        close(got, THEIRS(wide_input, *wide_operands, **settings), dtype)
    assert len(ours) >= 8


@pytest.mark.parametrize("dtype", DIFFERENTIABLE, ids=str)
def test_every_sample_has_torchs_gradients(dtype, ours):
    for input, *operands, settings in samples(dtype, requires_grad=True):
        y = INFO.op(input, *operands, **settings)
        leaves = [t for t in (input, *operands) if t is not None]
        wider = list(map(wide, leaves))
        with_none = [None if t is None else wider.pop(0) for t in (input, *operands)]
        want_y = THEIRS(*with_none, **settings)
        grad = torch.randn_like(y)
        got = torch.autograd.grad(y, leaves, grad)
        want = torch.autograd.grad(want_y, [t for t in with_none if t is not None], grad.to(want_y.dtype))
        for one, other, leaf in zip(got, want, leaves, strict=True):
            assert one.dtype == dtype
            assert one.shape == leaf.shape
            close(one, other, dtype)
    assert {plan.problem.operation for plan in ours} == {"forward", "grad_input", "grad_weight"}


def differentiable(settings):
    def function(*tensors):
        return INFO.op(*tensors, **settings)

    return function


def checked(check, dtype, **options):
    for input, *operands, settings in samples(dtype, requires_grad=True):
        inputs = tuple(t for t in (input, *operands) if t is not None)
        assert check(differentiable(settings), inputs, nondet_tol=INFO.gradcheck_nondet_tol, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_first_derivatives_in_both_modes_and_in_batches(dtype, ours):
    checked(
        torch.autograd.gradcheck,
        dtype,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
        fast_mode=True,
    )
    assert ours


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_second_derivatives_in_both_modes_and_in_batches(dtype, ours):
    checked(
        torch.autograd.gradgradcheck,
        dtype,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
        gen_non_contig_grad_outputs=True,
        fast_mode=True,
    )
    assert ours


def test_a_whole_jacobian_element_by_element(ours):
    input, *operands, settings = samples(torch.float64, requires_grad=True)[0]
    inputs = tuple(t for t in (input, *operands) if t is not None)
    assert torch.autograd.gradcheck(differentiable(settings), inputs, check_forward_ad=True)


def test_a_wrong_derivative_would_be_seen(ours, monkeypatch):
    derivatives = ut.derivatives
    gradients = derivatives.gradients
    monkeypatch.setattr(
        derivatives, "gradients", lambda *how: tuple(g if g is None else 1.01 * g for g in gradients(*how))
    )
    input, *operands, settings = samples(torch.float64, requires_grad=True)[0]
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(differentiable(settings), (input, *[t for t in operands if t is not None]))
