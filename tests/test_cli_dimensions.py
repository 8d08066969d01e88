"""Layers of one and of three dimensions on the command line: how they are asked for, what is refused."""

import pytest
from command import output, run

import upconv
from upconv.cli import build_parser
from upconv.explain.explanation import explain
from upconv.geometry import Axis, Geometry
from upconv.inverse import settings
from upconv.layer_options import as_arguments, attach_negatives, by_axis, layer_geometry


def refused(capsys, line):
    status, out, err = run(capsys, line)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ("40 -k 4 -s 2", "40 × 40 to 82 × 82"),
        ("40 -k 4 -s 2 --dims 2", "40 × 40 to 82 × 82"),
        ("40 -k 4 -s 2 --dims 1", "length 40 to length 82"),
        ("40 -k 4 -s 2 -p 1 --op 1 -d 2 --dims 1", "length 40 to length 84"),
        ("40 -k 4 -p 1:0 --dims 1", "length 40 to length 42"),
        ("40 -k 3 -s 2 -p same --dims 1", "length 40 to length 80"),
        ("8 -k 2 -s 2 --dims 3", "8 × 8 × 8 to 16 × 16 × 16"),
        ("4x6x8 -k 2 -s 2", "4 × 6 × 8 to 8 × 12 × 16"),
        ("8 -k 1x2x2 -s 1x2x2", "8 × 8 × 8 to 8 × 16 × 16"),
        ("4x6x8 -k 3 -p 0x1x2", "4 × 6 × 8 to 6 × 6 × 6"),
        ("4x6x8 -k 3 -p 0:0x1:0x2:2", "4 × 6 × 8 to 6 × 7 × 6"),
        ("4 -k 3 -s 2 --op 0x1x0", "4 × 4 × 4 to 9 × 10 × 9"),
        ("4 -k 3 -d 1x1x2", "4 × 4 × 4 to 6 × 6 × 8"),
    ],
)
def test_a_layer_has_as_many_axes_as_its_numbers_say(capsys, written, sizes):
    assert f"Transposed convolution, {sizes}\n" in output(capsys, f"explain {written}")


def test_the_command_says_what_the_function_says(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    settings = {"stride": (1, 2, 2), "padding": (0, 1, 1), "groups": 2, "in_channels": 4, "out_channels": 2}
    for language in ("en", "ko"):
        want = explain(kernel_size=(1, 3, 4), input_size=(4, 5, 6), dimensions=3, language=language, **settings).text
        line = f"explain 4x5x6 -k 1x3x4 -s 1x2x2 -p 0x1x1 -g 2 --in-channels 4 --out-channels 2 --lang {language}"
        assert output(capsys, line) == want
        want = explain(kernel_size=3, stride=2, input_size=9, dimensions=1, language=language).text
        assert output(capsys, f"explain 9 -k 3 -s 2 --dims 1 --lang {language}") == want


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("explain 8x8 -k 1x2x2", "the input size is 8x8, two numbers; -k is 1x2x2, and a layer of three dimensions"),
        ("explain 8x8 -k 1x2x2", "takes one number or three, as in 8x8x8"),
        ("explain 8x8x8 -k 2x3", "as in 2x2x3"),
        ("explain 8x8x8 -k 3 -p 1:0x0:1", "-p is 1:0x0:1, two numbers; the input size is 8x8x8"),
        ("explain 8x8x8 -k 3 -p 1:0x0:1", "as in 1:0x1:0x0:1"),
        ("explain 8x8x8 -k 3 -s 1x2", "-s is 1x2"),
        ("explain 8x8x8 -k 3 -s 2 --op 0x1", "--op is 0x1"),
        ("explain 8x8x8 -k 3 -d 1x2", "-d is 1x2"),
        ("explain 40x50 -k 3 --dims 1", "a layer of one dimension takes one number, as in 50"),
        ("explain 8x8x8 -k 3 --dims 2", "a layer of two dimensions takes one number or two, as in 8x8"),
        ("explain 8 -k 3 --dims 4", "choose from 1, 2, 3"),
        ("explain 8 -k 3x3x3x3", "or three as in 1x3x5 (depth first)"),
        ("explain 4 -k 3 -p 9 --dims 1", "length: the output size would be"),
        ("explain 4x4x4 -k 3 -s 2 --op 2", "depth: output_padding is 2"),
        ("explain 4x5x6 -k 3 -s 1x2x2 -p 0x1x1 --svg a.svg", "upconv explain 5x6 -k 3 -s 2 -p 1 --svg a.svg"),
        ("explain 4x5x6 -k 3 --png a.png", "--png a.png is for layers of one and two dimensions"),
        ("explain 4x5x6 -k 3 --gif a.gif", "upconv explain 5x6 -k 3 --gif a.gif"),
        ("explain 4x5x6 -k 1x2x3 --draw", "upconv explain 5x6 -k 2x3 --draw"),
        ("explain 4x5x6 -k 3 -p 0:0x1:0x2:0 --algorithm winograd", "5x6 -k 3 -p 1:0x2:0 --algorithm winograd"),
        ("plan 4x5x6 -k 2 -s 2", "upconv plan 5x6 -k 2 -s 2"),
        ("page 4x5x6 -k 2", "a layer of two dimensions takes one number or two, as in 5x6"),
        ("solve --in-size 4 --out-size 8x8 --dims 1", "--out-size is 8x8"),
        ("solve --in-size 4x4 --out-size 8x8x8", "--in-size is 4x4, two numbers"),
        ("translate --from torch --to keras -k 3x3x3", "two as in 3x5"),
    ],
)
def test_refusals_say_what_was_given_and_what_would_do(capsys, tmp_path, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("axis", [Axis(4, 3, 2, 1, 1, 0), Axis(5, 2), Axis(4, 3, 2, 1, -1, 2), Axis(6, 3, 3, 2, 1, 1)])
def test_a_layer_written_as_arguments_is_read_as_the_same(axis):
    other = Axis(7, 2, 2, 1, 0, 1)
    for axes in ((axis, axis), (axis, other), (other, axis)):
        words = attach_negatives(["explain", *as_arguments(*axes).split()])
        assert layer_geometry(build_parser().parse_args(words)) == Geometry(1, 1, 1, 1, *axes)


def test_numbers_by_axis_need_no_axes_where_none_has_several():
    assert by_axis({"-k": (3,), "-p": "same", "--op": None}) == (2, [(3, 3), "same", None])
    with pytest.raises(upconv.SettingError, match="as in 1x1x2"):
        by_axis({"-k": (1, 2)}, 3)


def test_a_line_is_drawn_in_every_form(capsys, tmp_path):
    pytest.importorskip("PIL.Image")
    files = {kind: tmp_path / f"line.{kind}" for kind in ("svg", "png", "gif")}
    arguments = " ".join(f"--{kind} {file}" for kind, file in files.items())
    out = output(capsys, f"explain 6 -k 4 -s 2 -p 1 --dims 1 --draw {arguments}")
    assert "length 6 → length 12" in out.splitlines()[2]
    assert [file.read_bytes()[:4] for file in files.values()] == [b"<svg", b"\x89PNG", b"GIF8"]


def test_a_plan_of_a_line_is_that_of_a_map_of_height_1(capsys):
    out = output(capsys, "plan 40 -k 16 -s 8 -p 4 --dims 1 --in-channels 4 --out-channels 2 --prepared")
    assert "input (1, 4, 1, 40)  weight (4, 2, 1, 16)  output (1, 2, 1, 320)" in out
    crops = output(capsys, "plan 40 -k 16 -s 8 -p 1:2 --dims 1")
    assert "output (1, 1, 1, 325)" in crops
    assert "output (1, 1, 1, 320)" in output(capsys, "plan 40 -k 16 -s 8 -p same --dims 1")


def test_winograd_of_a_line_counts_one_axis(capsys, tmp_path):
    out = output(capsys, "explain 8 -k 4 -s 2 --dims 1 --algorithm winograd")
    assert "4 products instead of 6, a factor of 1.5" in out
    assert "both axes" not in out
    drawn = output(capsys, f"explain 8 -k 4 -s 2 --dimensions 1 --algorithm winograd --svg {tmp_path / 'a.svg'}")
    assert drawn.startswith(out)
    assert drawn.endswith(f"drawing: {tmp_path / 'a.svg'}\n")
    assert "(길이)" in output(capsys, "explain 8 -k 4 -s 2 --dims 1 --algorithm winograd --lang ko")


def test_solve_answers_for_lines_and_volumes(capsys):
    line = output(capsys, "solve --in-size 17 --out-size 32 --dims 1 --max-dilation 1 --all")
    assert "length 17 to 32" in line
    assert [each.arguments() in line for each in settings(17, 32, max_dilation=1)].count(False) == 0
    assert "undoes Conv1d of" in line
    assert "Conv2d" not in line
    cube = output(capsys, "solve --in-size 8 --out-size 16 --dims 3 -k 2")
    assert "8 × 8 × 8 to 16 × 16 × 16" in cube
    assert " 4,096  " in cube
    # The depth stays, which one setting for all axes could do only by a dilation and a cut.
    apart = output(capsys, "solve --in-size 8x16x16 --out-size 8x32x32")
    assert "depth 8 to 8" in apart
    assert "height and width 16 to 32" in apart
    assert "1  kernel_size=2, stride=2 " in apart
    assert "k = 2" in output(capsys, "solve --in-size 4 --out-size 8x8x8 -k 2x4x4 -d 1")
