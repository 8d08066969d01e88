"""Compilers and exporters: torch.compile runs ours as one operator; what leaves the process is torch's operator."""

import io
import warnings

import pytest
from require import require

from upconv.bilinear import SLOTS

torch = require("torch")
ut = require("upconv.torch")
THEIRS = torch.nn.functional.conv_transpose2d

if not hasattr(torch.library, "opcheck"):
    pytest.skip("this torch has no opcheck", allow_module_level=True)


def memory(tensor, kind):
    """The same values channels-last, or in an order of no name."""
    if kind == "channels_last":
        return tensor.to(memory_format=torch.channels_last)
    return tensor.permute(2, 0, 3, 1).contiguous().permute(1, 3, 0, 2) if kind == "permuted" else tensor


def facts(x, w, stride, padding, output_padding, groups, dilation):
    sizes = list(THEIRS(x, w, None, stride, padding, output_padding, groups, dilation).shape)
    last = [ut.operands.is_channels_last(t.shape, t.stride()) for t in (x, w)]
    settings = [stride] * 2, [padding] * 2, [output_padding] * 2, groups, [dilation] * 2
    return [list(x.shape), list(w.shape), sizes, *settings, [*last, last[0] or last[1]]]


@pytest.mark.parametrize("kind", ["contiguous", "channels_last", "permuted", "mixed"])
@pytest.mark.parametrize("operation", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_registered_operator_passes_opcheck(operation, kind, dtype, ours):
    torch.manual_seed(3)
    x = memory(torch.randn(2, 4, 5, 6, dtype=dtype), kind)
    w = memory(torch.randn(4, 3, 3, 3, dtype=dtype), "channels_last" if kind == "mixed" else kind)
    bias = torch.randn(6, dtype=dtype) if operation == "forward" else None
    those = facts(x, w, 2, 1, 1, 2, 1)
    y = memory(torch.randn(those[2], dtype=dtype), kind)
    slots = {"x": x, "w": w, "y": y}
    a, b = (slots[slot].requires_grad_() for slot in SLOTS[operation][:2])
    torch.library.opcheck(torch.ops.upconv.contract.default, (operation, a, b, bias, *those))
    assert ours


class Model(torch.nn.Module):
    """Two layers with something between that the compiler can fuse."""

    def __init__(self):
        super().__init__()
        self.first = ut.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1)
        self.second = ut.ConvTranspose2d(6, 2, 4, groups=2, bias=False)

    def forward(self, x):
        return self.second(torch.relu(self.first(x))) + ut.conv_transpose2d(x, self.first.weight, stride=2).mean()


def plain(model):
    """The same with torch's layers, sharing the parameters."""

    def run(x):
        first, second = model.first, model.second
        y = THEIRS(x, first.weight, first.bias, 2, 1, 1)
        return THEIRS(torch.relu(y), second.weight, None, groups=2) + THEIRS(x, first.weight, stride=2).mean()

    return run


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_without_a_break_for_all_shapes(backend, ours):
    if backend == "inductor":
        pytest.importorskip("torch._inductor")
    torch.manual_seed(0)
    model = Model()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    for shape in ((2, 4, 5, 6), (2, 4, 7, 6), (3, 4, 9, 11)):
        for kind in ("contiguous", "channels_last"):
            x = memory(torch.randn(shape), kind)
            results = []
            for f in (compiled, plain(model)):
                model.zero_grad()
                leaf = x.clone().requires_grad_()
                y = f(leaf)
                y.square().mean().backward()
                results.append((y.detach(), leaf.grad, *[p.grad.clone() for p in model.parameters()]))
            torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert {plan.problem.operation for plan in ours} == {"forward", "grad_input", "grad_weight"}


def test_new_shapes_are_not_compiled_again():
    counted = require("torch._dynamo.testing").CompileCounter()
    compiled = torch.compile(ut.conv_transpose2d, fullgraph=True, dynamic=True, backend=counted)
    w = torch.randn(4, 6, 3, 3)
    for size in range(8, 15):
        x = torch.randn(2, 4, size, size + 1)
        torch.testing.assert_close(compiled(x, w, None, 2), THEIRS(x, w, None, 2))
    assert counted.frame_count == 1


def test_the_compiled_graph_holds_the_operator_once():
    seen = []

    def backend(graph, inputs):
        seen.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    x, w = torch.randn(2, 4, 5, 5), torch.randn(4, 6, 3, 3)
    torch.compile(ut.conv_transpose2d, fullgraph=True, backend=backend)(x, w)
    assert seen.count(torch.ops.upconv.contract) + seen.count(torch.ops.upconv.contract.default) == 1


def test_active_holds_while_compiling(ours):
    model, x = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 6, 3, 2), torch.nn.Tanh()), torch.randn(2, 4, 5, 5)
    want = model(x)
    with ut.active():
        got = torch.compile(model, backend="aot_eager")(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert ours
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x), want)


@pytest.mark.parametrize("what", ["autocast", "output_size", "unbatched", "1d", "meta", "vmap", "jvp", "bfloat16"])
def test_the_rest_compiles_too(what):
    layer = ut.ConvTranspose1d(4, 6, 3, 2) if what == "1d" else ut.ConvTranspose2d(4, 6, 3, 2)
    twin = (torch.nn.ConvTranspose1d if what == "1d" else torch.nn.ConvTranspose2d)(4, 6, 3, 2)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(*{"1d": (2, 4, 5), "unbatched": (4, 5, 5), "vmap": (3, 2, 4, 5, 5)}.get(what, (2, 4, 5, 5)))

    def call(layer):
        def run(x):
            if what == "autocast":
                with torch.autocast("cpu", torch.bfloat16):
                    return layer(x)
            if what == "vmap":
                return torch.func.vmap(lambda x: layer(x))(x)
            if what == "jvp":
                return torch.func.jvp(lambda x: layer(x), (x,), (x,))[1]
            return layer(x, [12, 12]) if what == "output_size" else layer(x)

        return run

    if what == "bfloat16":
        layer, twin, x = layer.bfloat16(), twin.bfloat16(), x.bfloat16()
    if what == "meta":
        layer, twin, x = layer.to("meta"), twin.to("meta"), x.to("meta")
    got, want = torch.compile(call(layer), fullgraph=True, backend="aot_eager")(x), call(twin)(x)
    assert (got.shape, got.dtype, got.device) == (want.shape, want.dtype, want.device)
    if what != "meta":
        tolerance = 2e-2 if got.dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def targets(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("strict", [False, True])
def test_export_yields_atens_convolution(strict):
    model, x = Model().eval(), torch.randn(2, 4, 5, 6)
    height = torch.export.Dim("height", min=2, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes=({2: height},), strict=strict)
    found = targets(program)
    assert sum("conv_transpose2d" in name or "convolution" in name for name in found) == 3
    assert not [name for name in found if "upconv" in name]
    torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_export_yields_a_conv_transpose_node(dynamo, tmp_path):
    onnx = require("onnx")
    if dynamo:
        require("onnxscript")
    model, x = Model().eval(), torch.randn(2, 4, 5, 6)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(path), dynamo=dynamo)
    graph = onnx.load(str(path)).graph
    assert [node.op_type for node in graph.node].count("ConvTranspose") == 3
    assert {node.domain for node in graph.node} <= {"", "ai.onnx"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["trace", "script"])
def test_torchscript_holds_torchs_operator(how):
    model, x = Model().eval(), torch.randn(2, 4, 5, 6)
    made = torch.jit.trace(model, x) if how == "trace" else torch.jit.script(model)
    code = str(made.inlined_graph)
    assert code.count("aten::conv_transpose2d") + code.count("aten::_convolution") == 3
    assert "upconv::" not in code
    file = io.BytesIO()
    torch.jit.save(made, file)
    file.seek(0)
    again = torch.jit.load(file)
    for size in ((2, 4, 5, 6), (1, 4, 8, 3)):
        x = torch.randn(size)
        torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-5)
    assert isinstance(model.first, ut.ConvTranspose2d)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_function_in_a_script_and_a_lone_layer():
    @torch.jit.script
    def double(x: torch.Tensor, w: torch.Tensor):
        return ut.conv_transpose2d(x, w, None, 2, [1, 1])

    x, w = torch.randn(1, 4, 3, 3), torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(double(x, w), THEIRS(x, w, None, 2, 1))
    layer = ut.ConvTranspose2d(4, 2, 3, 2)
    scripted = torch.jit.script(layer)
    torch.testing.assert_close(scripted(x, [8, 8]), layer(x, [8, 8]))
    one = ut.ConvTranspose1d(4, 2, 3, 2)
    x = torch.randn(2, 4, 5)
    torch.testing.assert_close(torch.jit.script(one)(x), one(x))


def test_symbolic_traces_hold_torchs_operator():
    graph = torch.fx.symbolic_trace(Model())
    functions = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    assert functions.count(THEIRS) == 3
    from torch.fx.experimental.proxy_tensor import make_fx

    made = make_fx(lambda x, w: ut.conv_transpose2d(x, w))(torch.randn(2, 4, 5, 5), torch.randn(4, 6, 3, 3))
    assert torch.ops.aten.convolution.default in [node.target for node in made.graph.nodes]
