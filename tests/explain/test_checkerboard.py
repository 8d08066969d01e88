"""Checkerboards read out of weights: against the library's own outputs, and against layers trained to show them."""

import importlib.util
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from require import promised_or_there

import upconv
from upconv import SettingError, weights
from upconv.cli import main
from upconv.explain import artifacts
from upconv.explain.checkerboard import survey
from upconv.explain.scene import Rect, Text
from upconv.explain.svg import svg
from upconv.explain.weights import kernels
from upconv.weight_files import arrays

ROOT = Path(__file__).parents[2]
CASES = [
    ((2, 3, 4, 4), (2, 2), (1, 1), 1),
    ((4, 2, 3, 5), (2, 3), (1, 1), 2),
    ((3, 1, 3, 3), (2, 2), (1, 1), 3),
    ((2, 2, 3, 3), (2, 1), (3, 2), 1),
    ((1, 2, 2, 2), (3, 3), (1, 1), 1),
    ((2, 2, 3, 3), (2, 2), (2, 2), 1),
    ((2, 2, 3, 3), (1, 1), (1, 1), 1),
]


def random_weight(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(("shape", "stride", "dilation", "groups"), CASES)
def test_the_gains_are_what_the_layer_makes_of_a_constant(shape, stride, dilation, groups):
    weight, mean = random_weight(shape), np.arange(1.0, shape[0] + 1)
    found = artifacts(weight, stride, groups=groups, dilation=dilation, mean=mean)
    x = np.broadcast_to(mean[:, None, None], (shape[0], 12, 12)).copy()
    y = upconv.conv_transpose2d(x, weight, stride=stride, dilation=dilation, groups=groups)
    s_h, s_w = stride
    # Positions in the middle of the canvas, where every tap meets an input.
    top, left = (6 * s for s in stride)
    for a in range(s_h):
        for b in range(s_w):
            np.testing.assert_allclose(found.gains[:, a, b], y[:, top + a, left + b], atol=1e-12)


@pytest.mark.parametrize(("shape", "stride", "dilation", "groups"), CASES)
def test_the_gain_on_noise_is_what_the_layer_makes_of_it(shape, stride, dilation, groups):
    weight = random_weight(shape)
    found = artifacts(weight, stride, groups=groups, dilation=dilation)
    x = np.random.default_rng(1).normal(size=(40, shape[0], 30, 30))
    y = upconv.conv_transpose2d(x, weight, stride=stride, dilation=dilation, groups=groups)
    s_h, s_w = stride
    inner = y[:, :, 6 * s_h : 24 * s_h, 6 * s_w : 24 * s_w]
    for a in range(s_h):
        for b in range(s_w):
            seen = np.sqrt((inner[:, :, a::s_h, b::s_w] ** 2).mean())
            assert found.noise[a, b] == pytest.approx(seen, rel=0.05, abs=1e-12)


def test_flat_means_equal_sums_and_not_equal_counts():
    rows = {(1, 2, 3, 1): False, (1, 3, 3, 1): True, (1, 2, 1): True, (1, 1, 1): False}
    for taps, is_flat in rows.items():
        found = artifacts(np.array(taps, float)[None, None, None], (1, 2))
        assert (found.score == 0) == is_flat, taps
        assert found.verdict.startswith("flat") == is_flat
        assert (found.fixes == []) == is_flat


def test_a_score_of_one_is_nothing_but_pattern():
    assert artifacts([[[[1, -1]]]], (1, 2)).score == 1.0
    assert artifacts([[[[1, -1]]]], (1, 2)).deviation == float("inf")
    assert artifacts(np.zeros((1, 1, 2, 2)), 2).score == 0.0
    assert artifacts([[[[4, 2]]]], (1, 2)).deviation == pytest.approx(1 / 3)


def test_random_weights_have_the_score_that_the_report_names():
    found = artifacts(random_weight((64, 64, 4, 4)), 2)
    assert found.score == pytest.approx(0.75, abs=0.05)
    assert "random weights have about 0.75" in repr(found)


def test_the_spectrum_names_the_kind_of_pattern():
    checker = artifacts([[[[1, 0], [0, 1]]]], 2)
    assert checker.spectrum.tolist() == [[0.5, 0], [0, 0.5]]
    assert checker.patterns() == [
        "50.0% of the energy at frequency 1/2 × 1/2 per output (rows × columns): a checkerboard"
    ]
    assert artifacts([[[[1, 1], [0, 0]]]], 2).patterns()[0].endswith(": rows")
    assert artifacts([[[[1, 0], [1, 0]]]], 2).patterns()[0].endswith(": columns")
    assert artifacts(np.zeros((1, 1, 2, 2)), 2).spectrum[0, 0] == 1
    three = artifacts(random_weight((2, 2, 3, 3)), 3)
    assert three.spectrum.sum() == pytest.approx(1)
    assert three.spectrum[0, 0] == pytest.approx(1 - three.score)
    assert len(three.patterns()) == 4


def test_channels_are_scored_alone_and_ranked_by_the_energy_of_their_pattern():
    weight = np.concatenate([np.ones((1, 1, 2, 2)), [[[[3, 1], [1, 1]]]], [[[[0.2, 0], [0, 0]]]]], axis=1)
    found = artifacts(weight, 2)
    assert found.worst == [1, 2, 0]
    assert found.channels.tolist() == pytest.approx([0, 0.25, 0.75])


@pytest.mark.parametrize(("shape", "stride", "dilation", "groups"), CASES)
def test_the_corrected_weight_is_flat_and_near(shape, stride, dilation, groups):
    found = artifacts(random_weight(shape), stride, groups=groups, dilation=dilation, mean=range(1, shape[0] + 1))
    if not found.taps.all():
        with pytest.raises(SettingError, match="holes"):
            found.corrected()
        return
    fixed = found.corrected()
    again = artifacts(fixed, stride, groups=groups, dilation=dilation, mean=range(1, shape[0] + 1))
    assert again.score < 1e-20
    # Nearest: any other flat weight, here with another common sum, lies further away.
    distance = np.sum((fixed - found.weight) ** 2)
    taps = found.taps
    rows, columns = found._residues(0), found._residues(1)
    for step in (-0.01, 0.01):
        other = fixed + step / taps[rows[:, None], columns]
        assert np.sum((other - found.weight) ** 2) >= distance - 1e-12


def test_the_report_says_what_helps():
    uneven = "\n".join(artifacts(random_weight((2, 2, 3, 3)), 2).fixes)
    assert "kernel_size=4" in uneven
    assert "corrected()" in uneven
    assert "icnr" not in uneven
    assert "icnr" in "\n".join(artifacts(random_weight((2, 2, 4, 4)), 2).fixes)
    holes = artifacts(random_weight((2, 2, 2, 2)), 3)
    assert holes.verdict == "holes: 5 of 9 phases have no taps and hold the bias alone"
    assert "corrected" not in "\n".join(holes.fixes)
    many = repr(artifacts(random_weight((1, 1, 8, 8)), 8))
    assert "... and 48 more phases" in many
    one_axis = "\n".join(artifacts(random_weight((1, 1, 4, 3)), 2).fixes)
    assert "width: a kernel that the stride divides" in one_axis
    assert "height:" not in one_axis


def test_a_mean_over_the_strides_box_removes_the_pattern():
    weight = random_weight((2, 1, 3, 3))
    y = upconv.conv_transpose2d(np.ones((1, 2, 9, 9)), weight, stride=2)[0, 0, 4:-4, 4:-4]
    blurred = (y[:-1, :-1] + y[1:, :-1] + y[:-1, 1:] + y[1:, 1:]) / 4
    assert np.ptp(y) > 0.1
    assert np.ptp(blurred) < 1e-12


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 6, 3, 3), (1, 1, 8, 8), (1, 1, 2, 1)])
def test_the_picture_lies_on_its_paper(shape):
    found = artifacts(random_weight(shape), 2 if min(shape[2:]) > 1 else (1, 1), name="up.weight")
    scene = found.scene()
    for shape in scene.shapes:
        if isinstance(shape, Rect):
            assert 0 <= shape.x <= shape.x + shape.width <= scene.width
            assert 0 <= shape.y <= shape.y + shape.height <= scene.height
        if isinstance(shape, Text) and shape.anchor == "start":
            assert shape.x + shape.width <= scene.width, shape
    assert svg(scene) == found._repr_svg_()
    assert "up.weight" in scene.title


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(weight=np.ones((2, 2, 3))), SettingError, "shape"),
        (dict(weight=np.ones((2, 0, 3, 3))), SettingError, "shape"),
        (dict(weight=np.ones((2, 2, 3, 3)), stride=0), SettingError, "stride"),
        (dict(weight=np.ones((2, 2, 3, 3)), groups=3), SettingError, "groups=3"),
        (dict(weight=np.ones((2, 2, 3, 3)), groups=0), SettingError, "groups is 0"),
        (dict(weight=np.ones((2, 2, 3, 3)), mean=[1, 2, 3]), SettingError, "mean has the shape"),
        (dict(weight=np.full((1, 1, 3, 3), np.nan)), SettingError, "not finite"),
        (dict(weight=np.ones((1, 1, 3, 3), complex)), TypeError, "complex128"),
        (dict(weight="text"), TypeError, "dtype"),
    ],
)
def test_what_is_no_weight_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        artifacts(**arguments)


def load_example():
    spec = importlib.util.spec_from_file_location("checkerboard_example", ROOT / "examples" / "checkerboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_trained_layers_show_in_their_pictures_what_the_report_reads_out_of_their_weights():
    rows = {name: (report, measured) for name, _, report, _, measured in load_example().experiment(steps=150)}
    for name, (report, measured) in rows.items():
        assert report.deviation == pytest.approx(measured, abs=0.02, rel=0.05), name
    assert rows["blind"][1] > 0.2
    assert "visible" in rows["blind"][0].verdict
    assert rows["full"][1] < 0.05
    for name in ("icnr", "corrected"):
        assert rows[name][1] < 0.001
        assert rows[name][0].verdict.startswith("flat")
    assert rows["bilinear"][1] < 0.1


def test_the_demos_generator_was_trained_without_a_checkerboard_in_its_pictures():
    weights = kernels(arrays(ROOT / "src" / "upconv" / "assets" / "digits.npz"))
    last = artifacts(weights["layer3.weight"], 2)
    assert last.deviation < 0.02
    assert artifacts(weights["layer1.weight"], 2).score < 0.2


def safetensors(path, **tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, array) in tensors.items():
        data = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_weights_are_read_from_every_kind_of_file(tmp_path):
    weight = random_weight((2, 3, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", up=weight, bias=np.ones(3))
    np.save(tmp_path / "up.npy", weight)
    safe = safetensors(tmp_path / "a.safetensors", up=("F32", weight), b=("BOOL", np.ones(3, bool)))
    for file in (tmp_path / "a.npz", tmp_path / "up.npy", safe):
        np.testing.assert_array_equal(kernels(arrays(file))["up"], weight)
    halves = (weight.view(np.uint32) >> 16).astype(np.uint16)
    short = arrays(safetensors(tmp_path / "b.safetensors", up=("BF16", halves)))["up"]
    np.testing.assert_allclose(short, weight, rtol=2**-7)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "must be one of"),
        ("a.pt", b"", "must be one of"),
        ("a.safetensors", b"abc", "no sensible length"),
        ("a.safetensors", struct.pack("<Q", 5) + b"{bad}", "no safetensors file"),
        ("a.safetensors", struct.pack("<Q", 2) + b"[]", "no safetensors file"),
        ("a.npz", b"nothing of the kind", "no npz file"),
    ],
)
def test_damaged_files_are_refused_in_words(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        arrays(tmp_path / name)


def test_a_tensor_cut_short_is_refused(tmp_path):
    path = safetensors(tmp_path / "a.safetensors", up=("F32", np.ones((2, 2, 3, 3), np.float32)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(SettingError, match=r"up has data_offsets \[0, 144\], in a file with 136 bytes of numbers"):
        arrays(path)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"data_offsets": [-4, 8]}, r"up has data_offsets \[-4, 8\], in a file with 16 bytes"),
        ({"data_offsets": [-8, -4]}, r"data_offsets \[-8, -4\]"),
        ({"data_offsets": [8, 4]}, r"data_offsets \[8, 4\]"),
        ({"data_offsets": [0, 20]}, r"data_offsets \[0, 20\]"),
        ({"data_offsets": [0.0, 4.0]}, r"data_offsets \[0.0, 4.0\]"),
        ({"data_offsets": [0]}, r"data_offsets \[0\]"),
        ({"data_offsets": [0, 3]}, r"up has 3 bytes in the file; 1 of F32 take 4"),
        ({"data_offsets": [0, 8]}, "up has 8 bytes in the file; 1 of F32 take 4"),
        ({"dtype": "BF16", "data_offsets": [0, 1]}, "up has 1 bytes in the file; 1 of BF16 take 2"),
        ({"shape": [-1, -1]}, r"up has shape \[-1, -1\]"),
        ({"shape": [1.0]}, r"up has shape \[1.0\]"),
        ({"shape": [2**32, 2**32], "data_offsets": [0, 0]}, "up has 0 bytes in the file"),
        ({"shape": 1}, "up has shape 1"),
        ({"dtype": "F8_E4M3", "data_offsets": [0, 99]}, r"data_offsets \[0, 99\]"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, entry, words):
    text = json.dumps({"up": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **entry}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + np.arange(4, dtype="<f4").tobytes())
    with pytest.raises(SettingError, match=f"a.safetensors is no safetensors file: .*{words}"):
        arrays(path)


def test_a_dtype_that_is_not_read_is_named_to_who_asks_for_it(capsys, tmp_path):
    eighths = np.zeros((2, 3, 4, 4), np.uint8)
    found = {"a.weight": ("F8_E4M3", eighths), "b.weight": ("F32", random_weight((2, 3, 4, 4)).astype(np.float32))}
    path = safetensors(tmp_path / "a.safetensors", **found, mask=("BOOL", np.ones(3, bool)))
    assert list(weights.load(path, "b")) == ["weight"]
    with pytest.raises(SettingError, match=r"a.weight has dtype F8_E4M3.*F64, F32"):
        weights.load(path, "a")
    with pytest.raises(SettingError, match=r"there are 2 layers in the source: 'a', 'b'"):
        weights.load(path)
    assert list(kernels(arrays(path))) == ["b.weight"]
    assert run(capsys, "artifacts", path, "-s", 2)[0] == 0
    status, _, err = run(capsys, "artifacts", path, "-s", 2, "--key", "a.*")
    assert status == 2
    assert "a.weight has dtype F8_E4M3" in err


def run(capsys, *line):
    status = main([*map(str, line)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_reports_one_weight_and_ranks_many(capsys, tmp_path):
    flat, rough = np.ones((1, 1, 2, 2)), np.array([[[[1.0, 0], [0, 0]]]])
    np.savez(tmp_path / "w.npz", flat=flat, rough=rough, bias=np.ones(1))
    status, out, _ = run(capsys, "artifacts", tmp_path / "w.npz")
    assert status == 0
    assert out.splitlines()[1].split() == ["rough", "(1,", "1,", "2,", "2)", "0.7500", "173.2%"]
    assert out.splitlines()[2].split()[-2:] == ["0.0000", "0.0%"]
    status, out, _ = run(capsys, "artifacts", tmp_path / "w.npz", "--key", "r*", "--svg", tmp_path / "w.svg")
    assert (status, out.splitlines()[0]) == (0, "rough: weight (1, 1, 2, 2), stride 2 × 2")
    assert (tmp_path / "w.svg").read_text(encoding="utf-8").startswith("<svg")
    status, _, err = run(capsys, "artifacts", tmp_path / "w.npz", "--svg", tmp_path / "w.svg")
    assert (status, "--key picks one of flat, rough" in err) == (2, True)
    status, _, err = run(capsys, "artifacts", tmp_path / "w.npz", "--key", "none")
    assert (status, "holds no weight none; it has flat, rough" in err) == (2, True)
    status, _, err = run(capsys, "artifacts", tmp_path / "missing.npz")
    assert (status, "No such file" in err) == (2, True)
    assert len(survey([artifacts(flat, 2, name="a")])) == 4


@pytest.mark.skipif(not promised_or_there("torch"), reason="torch is not installed")
def test_a_state_dict_of_pytorch_is_read_and_nothing_in_it_is_run(capsys, tmp_path):
    import torch

    layer = torch.nn.ConvTranspose2d(2, 1, 4, 2, 1)
    torch.save({"model": layer.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    status, out, _ = run(capsys, "artifacts", tmp_path / "a.pt")
    assert (status, out.splitlines()[0]) == (0, "model.weight: weight (2, 1, 4, 4), stride 2 × 2")
    assert artifacts(layer.weight, 2).score == pytest.approx(artifacts(layer.weight.detach().numpy(), 2).score)
    torch.save(layer, tmp_path / "whole.pt")
    status, _, err = run(capsys, "artifacts", tmp_path / "whole.pt")
    assert (status, "state_dict" in err) == (2, True)
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    status, _, err = run(capsys, "artifacts", tmp_path / "bad.pt")
    assert status == 2
    assert "bad.pt" in err


def test_pytorchs_files_without_pytorch_say_what_to_install(capsys, tmp_path, monkeypatch):
    (tmp_path / "a.pt").write_bytes(b"")
    for name in [name for name in sys.modules if name == "upconv.torch" or name.startswith("upconv.torch.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    status, _, err = run(capsys, "artifacts", tmp_path / "a.pt")
    assert status == 2
    assert "torch" in err
