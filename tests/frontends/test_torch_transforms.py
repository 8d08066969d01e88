"""What torch does to functions: torch.func, vmap, forward mode, higher orders, autocast; the oracle is its operator."""

import itertools

import pytest
from require import require

import upconv
from upconv.planning import choose

torch = require("torch")
ut = require("upconv.torch")
choice = ut.choice
functional_call, vmap, vjp, jvp = torch.func.functional_call, torch.func.vmap, torch.func.vjp, torch.func.jvp
grad, hessian, jacfwd, jacrev = torch.func.grad, torch.func.hessian, torch.func.jacfwd, torch.func.jacrev
F = torch.nn.functional
OURS, THEIRS = ut.conv_transpose2d, F.conv_transpose2d
SETTINGS = [
    {},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": (2, 3), "padding": (1, 0), "groups": 2, "dilation": (2, 1)},
]


def operands(groups=1, dtype=torch.float64, bias=True):
    torch.manual_seed(7)
    x, w = torch.randn(2, 4, 3, 4, dtype=dtype), torch.randn(4, 6 // groups, 3, 2, dtype=dtype)
    return x, w, torch.randn(6, dtype=dtype) if bias else None


def agree(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(
    "dims",
    [d for d in itertools.product((0, 2, None), (0, 1, None), (0, None)) if any(dim is not None for dim in d)],
    ids=str,
)
def test_vmap_over_any_operands(dims, settings, ours):
    x, w, b = operands(settings.get("groups", 1))
    tensors = [
        t if dim is None else torch.stack([t, 2 * t, t - 1], dim) for t, dim in zip((x, w, b), dims, strict=True)
    ]
    got = vmap(lambda *t: OURS(*t, **settings), dims)(*tensors)
    slices = [[t] * 3 if dim is None else t.unbind(dim) for t, dim in zip(tensors, dims, strict=True)]
    agree(got, torch.stack([THEIRS(*each, **settings) for each in zip(*slices, strict=True)]))
    assert len(ours) == 1


@pytest.mark.parametrize("operation", ["grad_input", "grad_weight"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (2, 1)], ids=str)
def test_vmap_over_the_gradients(dims, groups, operation, ours):
    x, w, _ = operands(groups)
    gy = torch.randn_like(THEIRS(x, w, stride=2, groups=groups))

    def gradient(conv):
        def of(a, b):
            (x_, w_) = (x, b) if operation == "grad_input" else (a, w)
            _, pull = vjp(lambda x, w: conv(x, w, stride=2, groups=groups), x_, w_)
            return pull(a if operation == "grad_input" else b)[0 if operation == "grad_input" else 1]

        return of

    pair = (gy, w) if operation == "grad_input" else (x, gy)
    tensors = [t if dim is None else torch.stack([t, t + 1], dim) for t, dim in zip(pair, dims, strict=True)]
    agree(vmap(gradient(OURS), dims)(*tensors), vmap(gradient(THEIRS), dims)(*tensors))
    assert {plan.problem.operation for plan in ours} >= {operation}


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (1, 0)], ids=str)
def test_vmap_over_nothing_is_empty(dims, ours):
    x, w = torch.randn(2, 4, 5, 4), torch.randn(4, 3, 3, 2)
    x, w = (t if dim is None else t.unsqueeze(dim).narrow(dim, 0, 0) for t, dim in zip((x, w), dims, strict=True))
    x.requires_grad_()
    w.requires_grad_()
    y = vmap(lambda x, w: OURS(x, w, stride=2), dims)(x, w)
    assert y.shape == (0, 2, 3, 11, 8)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert w.grad.shape == w.shape
    assert ours


def test_nested_vmap(ours):
    x, w, _ = operands()
    xs, ws = torch.stack([x, x + 1]), torch.stack([w, w * 2, w - 1])

    def every(conv):
        return vmap(lambda x: vmap(lambda w: conv(x, w))(ws))(xs)

    agree(every(OURS), every(THEIRS))


@pytest.mark.parametrize("settings", SETTINGS)
def test_forward_mode(settings, ours):
    tensors = operands(settings.get("groups", 1))
    tangents = [torch.randn_like(t) for t in tensors]
    for some in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):

        def at(conv, some=some):
            def function(*changed):
                full = list(tensors)
                for place, value in zip(some, changed, strict=True):
                    full[place] = value
                return conv(*full, **settings)

            return jvp(function, tuple(tensors[i] for i in some), tuple(tangents[i] for i in some))

        agree(at(OURS), at(THEIRS))


def test_dual_numbers(ours):
    from torch.autograd import forward_ad

    x, w, b = operands()
    t = torch.randn_like(x)
    results = []
    for conv in (OURS, THEIRS):
        with forward_ad.dual_level():
            results.append(forward_ad.unpack_dual(conv(forward_ad.make_dual(x, t), w, b, 2)))
    agree(results[0].tangent, results[1].tangent)
    agree(results[0].primal, results[1].primal)


def loss(conv, settings):
    def of(x, w, b):
        return conv(x, w, b, **settings).sin().square().mean()

    return of


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_hessians(wanted, settings, ours):
    tensors = operands(settings.get("groups", 1))
    tensors = tensors[0][:1, :, :2, :2], *tensors[1:]
    agree(hessian(loss(OURS, settings), wanted)(*tensors), hessian(loss(THEIRS, settings), wanted)(*tensors))


def test_jacobians_by_either_mode_and_per_sample_gradients(ours):
    x, w, b = operands()
    f, g = (lambda w, conv=conv: conv(x, w, b, 2) for conv in (OURS, THEIRS))
    agree(jacfwd(f)(w), jacrev(g)(w))
    agree(jacrev(f)(w), jacrev(g)(w))
    per_sample = [
        vmap(grad(lambda w, x, conv=conv: conv(x, w, b, 2).square().sum()), (None, 0))(w, x) for conv in (OURS, THEIRS)
    ]
    agree(*per_sample)


def test_third_order(ours):
    x, w, _ = (t if t is None else t.requires_grad_() for t in operands(bias=False))
    results = []
    for conv in (OURS, THEIRS):
        y = conv(x, w, stride=2).pow(4).sum()
        for _ in range(3):
            (g,) = torch.autograd.grad(y, w, create_graph=True)
            y = g.pow(2).sum()
        results.append(g)
    agree(*results)


def test_complex_gradients_are_those_of_a_real_loss(ours):
    results = []
    for conv in (OURS, THEIRS):
        x, w, b = (t.requires_grad_() for t in operands(dtype=torch.complex128))
        results.append(torch.autograd.grad(conv(x.conj(), w, b, 2).abs().sum(), (x, w, b)))
    agree(*results)


def test_functional_call(ours):
    layer = ut.ConvTranspose2d(4, 6, 3).double()
    plain = torch.nn.ConvTranspose2d(4, 6, 3).double()
    x = operands()[0]
    values = {"weight": torch.randn(4, 6, 3, 3).double(), "bias": torch.randn(6).double()}

    def of(layer):
        return grad(lambda values: functional_call(layer, values, (x,)).square().sum())(values)

    agree(of(layer), of(plain))
    assert ours


def test_functionalize_gets_torchs_operator(ours):
    x, w, b = operands()
    agree(torch.func.functionalize(OURS)(x, w, b), THEIRS(x, w, b))
    assert not ours


def test_a_tensor_that_escaped_from_a_transform_is_read_right(ours):
    x, w, b = operands()
    escaped = []

    def function(x):
        escaped.append(x)
        return x.sum()

    grad(function)(x)
    agree(OURS(escaped[0], w, b), THEIRS(x, w, b))
    w = w.requires_grad_()
    agree(torch.autograd.grad(OURS(escaped[0], w, b).sum(), w), torch.autograd.grad(THEIRS(x, w, b).sum(), w))


def test_one_gradient_alone_computes_nothing_else(ours):
    x, w, b = operands()
    OURS(x, w.requires_grad_(), b).sum().backward()
    assert [plan.problem.operation for plan in ours] == ["forward", "grad_weight"]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("is_native", [True, False])
def test_autocast_computes_in_half_precision(half, is_native, monkeypatch, ours):
    """float32 operands are lowered and the gradients come back in float32; double is left alone, as in torch."""

    def rule(problem, measured=None):
        return choice.Decision(choose(problem), not (is_native and problem.dtype in choice.HALVES))

    monkeypatch.setattr(choice, "decide", rule)
    x, w, b = operands(dtype=torch.float32)
    results = []
    for conv in (OURS, THEIRS):
        leaves = [t.clone().requires_grad_() for t in (x, w, b)]
        with torch.autocast("cpu", half):
            y = conv(*leaves, 2)
            assert conv(x.double(), w.double(), None).dtype == torch.float64
        results.append((y, *torch.autograd.grad(y.float().square().sum(), leaves)))
    assert results[0][0].dtype == half
    assert [t.dtype for t in results[0][1:]] == [torch.float32] * 3
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=5e-2, atol=2e-1)
    assert any(plan.problem.dtype in choice.HALVES for plan in ours) is not is_native


@pytest.mark.parametrize("computes", [True, False])
@pytest.mark.parametrize("has_tiles", [True, False, None])
def test_half_precision_is_torchs_where_onednn_has_matrix_tiles(computes, has_tiles, monkeypatch):
    """Where torch cannot tell, it may have them; depthwise layers that are no ordinary convolution are upconv's."""
    monkeypatch.setattr(torch.cpu, choice.PAIRS, lambda: False, raising=False)
    for limit in choice.LIMITS:
        monkeypatch.delenv(limit, raising=False)
    for name, (asked, tells, _) in choice.HALVES.items():
        monkeypatch.setattr(torch.ops.mkldnn, asked, lambda: computes, raising=False)
        monkeypatch.setattr(torch.cpu, tells, None if has_tiles is None else lambda: has_tiles, raising=False)
        has = computes and has_tiles is not False and torch.backends.mkldnn.is_available()
        assert choice.has_instructions(name) == has
        monkeypatch.setattr(choice, "WITH_INSTRUCTIONS", frozenset({name} if has else ()))
        rows = (1, 2, False, has), (4, 2, True, has), (64, 2, True, False), (64, 1, False, False), (64, 1, True, has)
        for groups, stride, last, is_torchs in rows:
            settings = {"stride": stride, "groups": groups, "dtype": name, "channels_last": last}
            plan = upconv.plan((1, 64, 32, 32), (64, 64 // groups, 4, 4), **settings)
            assert any("oneDNN" in reason for reason in choice.slower(plan)) is is_torchs


@pytest.mark.parametrize("variable", choice.LIMITS)
@pytest.mark.parametrize(
    ("limit", "has"),
    {
        "AVX2": (),
        "avx512_core_fp16": (),
        "AVX512_CORE_AMX": ("bfloat16",),
        "AVX512_CORE_AMX_FP16": ("float16", "bfloat16"),
        "AVX10_1_512": (),
        "avx10_2_512_amx_2": ("float16", "bfloat16"),
        "DEFAULT": ("float16", "bfloat16"),
        "": ("float16", "bfloat16"),
    }.items(),
)
def test_matrix_tiles_that_onednn_may_not_use_are_none(variable, limit, has, monkeypatch):
    """Torch asks the processor, which has them whatever the limit is; names are read as oneDNN reads them."""
    monkeypatch.setattr(torch.cpu, choice.PAIRS, lambda: False, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for other in choice.LIMITS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(variable, limit)
    for asked, tells, _ in choice.HALVES.values():
        monkeypatch.setattr(torch.ops.mkldnn, asked, lambda: True, raising=False)
        monkeypatch.setattr(torch.cpu, tells, lambda: True, raising=False)
    assert tuple(filter(choice.has_instructions, choice.HALVES)) == has


@pytest.mark.parametrize(
    "limit", ["", "AVX512_CORE_BF16", "avx512_core_amx", "AVX512_CORE", "avx512_core_vnni", "AVX2"]
)
@pytest.mark.parametrize("cpu", ["znver4", "znver5", "sapphirerapids", ""])
@pytest.mark.parametrize("has_pairs", [True, False])
def test_bfloat16_is_torchs_where_pairs_of_it_are_multiplied_twice_as_fast(limit, cpu, has_pairs, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(choice, "host_cpu", lambda: cpu)
    monkeypatch.setattr(torch.cpu, choice.PAIRS, lambda: has_pairs, raising=False)
    for asked, tells, _ in choice.HALVES.values():
        monkeypatch.setattr(torch.ops.mkldnn, asked, lambda: True, raising=False)
        monkeypatch.setattr(torch.cpu, tells, lambda: False, raising=False)
    monkeypatch.setenv(choice.LIMITS[0], limit)
    has = has_pairs and cpu in ("znver4", "znver5") and limit in ("", "AVX512_CORE_BF16", "avx512_core_amx")
    assert tuple(filter(choice.has_instructions, choice.HALVES)) == (("bfloat16",) if has else ())
