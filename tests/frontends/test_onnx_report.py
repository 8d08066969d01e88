"""`upconv onnx`: the nodes of a model, their sizes, costs, plans and warnings, and the times."""

import doctest
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from require import require

from upconv import SettingError, depth, plan, planes
from upconv.cli import main

onnx = require("onnx")
require("onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402
from onnx_models import branch, of_nodes, of_one_node, two_ups  # noqa: E402

import upconv.onnx as uo  # noqa: E402

ONES = np.ones((4, 2, 3, 3), np.float32)


def saved(model, folder, **options):
    onnx.save(model, folder / "model.onnx", **options)
    return str(folder / "model.onnx")


def run(capsys, *arguments):
    status = main(["onnx", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_model_is_described_node_by_node(capsys, tmp_path):
    status, out, err = run(capsys, saved(two_ups(5), tmp_path))
    assert (status, err) == (0, "")
    assert "model.onnx: 2 of 3 nodes are ConvTranspose (opset 18)" in out
    first = plan((1, 8, 5, 6), (8, 4, 3, 3), stride=2)
    line = next(line for line in out.splitlines() if line.startswith("  first  "))
    assert line.split()[1:6] == ["1×8×5×6", "to", "1×4×11×13", "3×3", "s2×2"]
    assert f"{first.macs:,}" in line
    # A node without a name goes by its output's.
    assert re.search(r"^  y +1×4×11×13 to 1×4×22×26 +4×4 s2×2", out, re.M)
    assert "first: the batch is left open; here it is 1" in out
    assert "first: height and width: outputs take turns between 2 and 1 products" in out
    assert "first: weights: a visible pattern" in out
    assert not re.search(r"y: (height|width)", out)


def test_the_page_shows_what_is_printed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(two_ups(), tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")
    command, shown = re.search(r"```text\n\$ upconv onnx (.*)\n((?s:.*?))```", page).groups()
    status, out, _ = run(capsys, *command.split())
    assert status == 0
    assert doctest.OutputChecker().check_output(shown, out, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE), out


def test_the_rows_are_there_as_values():
    made = uo.report(two_ups(5))
    first, second = made.rows
    assert (made.total, made.opset) == (3, 18)
    assert (first.input_shape, first.output_shape) == ((1, 8, 5, 6), (1, 4, 11, 13))
    assert first.plan.problem.prepared
    assert second.plan.problem.geometry.groups == 4
    assert second.macs == plan(second.input_shape, second.node.weight_shape, None, 2, 1, 0, 4).macs


def test_a_flat_weight_has_no_warning():
    model = of_one_node((1, 4, 5, 5), np.ones((4, 2, 4, 4), np.float32), {"strides": [2, 2], "pads": [1] * 4})
    assert uo.report(model).rows[0].warnings == ()


@pytest.mark.parametrize("dimensions", [1, 3])
def test_other_dimensions(dimensions):
    shape, kernel = (2, 4, *(6, 5, 4)[:dimensions]), (4, 2, *(3, 2, 5)[:dimensions])
    weight = np.random.default_rng(0).standard_normal(kernel).astype(np.float32)
    given = {"strides": [2] * dimensions, "group": 2, "auto_pad": "SAME_LOWER"}
    model = of_one_node(shape, weight, given)
    (row,) = uo.report(model).rows
    (y,) = uo.run_model(model, [np.ones(shape, np.float32)])
    assert row.output_shape == y.shape
    # Every output of ones under ones counts what reached it; 4 channels in 2 groups give each output 2 of them.
    (counts,) = uo.run_model(of_one_node(shape, np.ones_like(weight), given), [np.ones(shape, np.float32)])
    assert row.macs == counts.sum()
    assert any("take turns" in warning for warning in row.warnings)


@pytest.mark.parametrize(("kernel", "stride", "pad", "group"), [(3, 2, 1, 1), (2, 2, 0, 1), (4, 2, 1, 2), (3, 1, 1, 4)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_plans_of_a_volume_are_those_that_run(kernel, stride, pad, group, batch, monkeypatch):
    shape, weight = (batch, 8, 6, 5, 4), np.ones((8, 4, *[kernel] * 3), np.float32)
    given = {"strides": [stride] * 3, "pads": [pad] * 6, "group": group}
    monkeypatch.setattr(planes, "STACK_BYTES", 3 * kernel * 8 * 5 * 4 * 4)
    (row,) = uo.report(of_one_node(shape, weight, given)).rows
    ran, solve = [], depth.solve

    def seen(problem, *operands):
        made = solve(problem, *operands)
        ran.append((problem.geometry, made.algorithm))
        return made

    monkeypatch.setattr(depth, "solve", seen)
    uo.run_model(of_one_node(shape, weight, given), [np.ones(shape, np.float32)])
    told = [(plan.problem.geometry, plan.algorithm) for count, plan in row.plans for _ in range(count)]
    assert sorted(map(str, told)) == sorted(map(str, ran))
    assert row.plan in [plan for _, plan in row.plans]
    *_, algorithms, predicted = row.cells()
    assert algorithms.endswith(" in planes")
    assert set(algorithms.removesuffix(" in planes").split(" and ")) == {name for _, name in ran}
    assert predicted.endswith(" ms")
    assert float(predicted.removesuffix(" ms")) == pytest.approx(1e3 * row.seconds, rel=0.01)


def test_open_sizes_are_asked_for_and_taken(capsys, tmp_path):
    path = saved(two_ups("h"), tmp_path)
    _, out, _ = run(capsys, path)
    assert "first: its input is 1×8×?×6: say the shapes of the model's inputs (--shape NAME=1x3x64x64)" in out
    _, out, _ = run(capsys, path, "--shape", "x=2x8x7x9")
    assert "2×8×7×9 to 2×4×15×19" in out
    assert "left open" not in out


def test_values_whose_rank_nobody_knows():
    model = of_one_node((1, 4, 5, 5), ONES, {}, is_known=False)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "its sizes are unknown" in uo.report(model).rows[0].note


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shape", "z=1x2"], "the model has no input 'z'; it has x"),
        (["--shape", "x=1xa"], "--shape is 'x=1xa'"),
        (["--shape", "1x8x5x6"], "--shape is '1x8x5x6'"),
        (["--shape", "x=1x9x5x6"], "channels"),
    ],
)
def test_shapes_that_do_not_fit(capsys, tmp_path, arguments, says):
    status, out, err = run(capsys, saved(two_ups(5), tmp_path), *arguments)
    assert says in out + err
    assert status == (0 if "channels" in says and out else 2)


def test_what_is_no_model(capsys, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"not a model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("a.onnx", "empty.onnx"):
        status, _, err = run(capsys, str(tmp_path / name))
        assert status == 2
        assert "is no ONNX model" in err
    assert run(capsys, str(tmp_path / "b.onnx"))[0] == 2


def test_a_node_that_upconv_refuses_is_named_with_the_reason():
    model = of_one_node((1, 4, 5, 5), ONES, {"output_padding": [3, 0]})
    (row,) = uo.report(model).rows
    assert row.note.startswith("upconv refuses it: height: output_padding is 3")


def test_a_model_without_such_nodes():
    model = two_ups(5)
    del model.graph.node[2], model.graph.node[0]
    assert str(uo.report(model)) == "the model: 0 of 1 node are ConvTranspose (opset 18)"


def test_weights_in_files_beside_the_model(tmp_path):
    model = of_one_node((1, 4, 5, 5), np.arange(4 * 2 * 9, dtype=np.float32).reshape(4, 2, 3, 3), {})
    path = saved(model, tmp_path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    assert (tmp_path / "weights.bin").exists()
    np.testing.assert_array_equal(uo.report(path).rows[0].node.weight.ravel(), np.arange(72))


def test_nodes_in_functions_and_in_branches():
    up = helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="inside")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1, 4, 5, 5]), ("y", [None] * 4))]
    flag = helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, [])
    known = [numpy_helper.from_array(ONES, "w")]
    branches = {key: helper.make_graph([up], key, [], values[1:]) for key in ("then_branch", "else_branch")}
    choice = helper.make_node("If", ["flag"], ["y"], **branches)
    model = helper.make_model(
        helper.make_graph([choice], "g", [values[0], flag], values[1:], known), opset_imports=opsets[:1], ir_version=8
    )
    assert [row.output_shape for row in uo.report(model).rows] == [(1, 2, 7, 7)] * 2
    function = helper.make_function("own", "Up", ["x", "w"], ["y"], [up], opsets[:1])
    graph = helper.make_graph(
        [helper.make_node("Up", ["x", "w"], ["y"], domain="own")], "g", values[:1], values[1:], known
    )
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    assert [row.output_shape for row in uo.report(model).rows] == [(1, 2, 7, 7)]


def test_names_mean_what_they_mean_in_their_branch():
    steps = helper.make_node("Relu", ["x"], ["h"]), helper.make_node("MaxPool", ["x"], ["h"], kernel_shape=[2, 2])
    known = [number * np.ones((4, 2, 3, number), np.float32) for number in (1, 2)]
    inside = [branch(name, weight, [step], "h") for name, weight, step in zip("ab", known, steps, strict=True)]
    model = of_nodes([], {}, shape=(1, 4, 5, 5), inside=inside)
    rows = sorted(uo.report(model).rows, key=lambda row: row.node.name)
    for row, weight in zip(rows, known, strict=True):
        np.testing.assert_array_equal(row.node.weight, weight)
    assert [row.input_shape for row in rows] == [(1, 4, 5, 5), (1, 4, 4, 4)]
    # What the branch does not have comes from around it, unless something in the branch is called so.
    model = of_nodes([], {"w": 3 * ONES}, shape=(1, 4, 5, 5), inside=[branch("a", None), branch("b", known[0])])
    assert {row.node.name: row.node.weight.max() for row in uo.report(model).rows} == {"a": 3, "b": 1}
    computed = helper.make_node("Relu", ["v"], ["w"])
    inside = [branch("a", None, [computed]), branch("b", known[0])]
    model = of_nodes([], {"v": 4 * ONES}, shape=(1, 4, 5, 5), inside=inside)
    assert {row.node.name for row in uo.report(model).rows if row.node.weight is None} == {"a"}


def test_times_beside_onnxruntime(capsys, tmp_path):
    status, out, err = run(capsys, saved(two_ups(5), tmp_path), "--time", "--threads", "1")
    assert (status, err) == (0, "")
    assert "upconv, 1 thread" in out
    assert len(re.findall(r"[\d.]+ ms +[\d.]+ ms +[\d.]+ ms +[\d.]+×$", out, re.M)) == 2


def test_what_onnxruntime_refuses_is_said_beside_our_time(capsys, tmp_path):
    model = of_one_node((1, 4, 5, 5), ONES, {"dilations": [3, 3], "output_padding": [2, 2]})
    _, out, _ = run(capsys, saved(model, tmp_path), "--time")
    assert "refuses: " in out


def test_a_time_is_not_given_where_the_values_differ(monkeypatch):
    from upconv.onnx import layer, timing

    made = uo.report(of_one_node((1, 4, 5, 5), ONES, {}))
    wrong = layer.Layer.__call__
    monkeypatch.setattr(layer.Layer, "__call__", lambda self, x, w, b=None: wrong(self, x, w, b) * 1.1)
    found = timing.times(made.rows[0], made.opset, 1)
    assert (found.theirs, found.reason) == (None, "gives other values")


def test_without_onnx_the_command_says_how_to_get_it(capsys, monkeypatch):
    for name in [name for name in sys.modules if name == "onnx" or name.startswith("upconv.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    status, _, err = run(capsys, "model.onnx")
    assert status == 2
    assert "pip install 'upconv[onnx]'" in err


def test_a_report_refuses_shapes_in_python_too():
    with pytest.raises(SettingError, match="has no input"):
        uo.report(two_ups(5), {"nothing": (1, 2)})
