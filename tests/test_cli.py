"""The command line: its answers, its refusals and its manners."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from command import output, run

from upconv import __version__, cli
from upconv.algorithms import ALGORITHMS
from upconv.cli import main
from upconv.inverse import settings
from upconv.runtime.kernel import usable
from upconv.runtime.pool import get_num_threads


def module(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "upconv", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_explain_answers_why_31_and_not_32(capsys):
    out = output(capsys, "explain 16 -k 3 -s 2 -p 1")
    assert "16 × 16 to 31 × 31" in out
    assert "To get 32 instead: kernel_size=3, stride=2, padding=1, output_padding=1." in out


@pytest.mark.parametrize(
    ("written", "sizes"),
    [
        ("4x6 -k 3", "4 × 6 to 6 × 8"),
        ("4 -k 3x5 -s 2x1", "4 × 4 to 9 × 8"),
        ("4 -k 3 -s 2 -p 1 --op 0x1", "4 × 4 to 7 × 8"),
        ("4 --kernel-size 3 --stride 2 --padding 1 --output-padding 1 --dilation 1", "4 × 4 to 8 × 8"),
        ("4 -k 3 -d 2x3", "4 × 4 to 8 × 10"),
        ("4 -k 3 -s 2 -p same", "4 × 4 to 8 × 8"),
        ("4 -k 3 -s 2 -p same_lower", "4 × 4 to 8 × 8"),
        ("4 -k 3 -s 2 -p valid", "4 × 4 to 9 × 9"),
        ("4 -k 3 -p 0:1", "4 × 4 to 5 × 5"),
        ("4 -k 3 -p -1:1x0:2", "4 × 4 to 6 × 4"),
        ("4 -k 3 -p 1x0:2", "4 × 4 to 4 × 4"),
        ("4 -k 3 -p -1:-1", "4 × 4 to 8 × 8"),
    ],
)
def test_one_syntax_for_a_layer(capsys, written, sizes):
    assert f"Transposed convolution, {sizes}\n" in output(capsys, f"explain {written}")


def test_same_and_same_lower_differ_in_where_they_cut(capsys):
    assert "crops (0, 1)" in output(capsys, "explain 4 -k 3 -s 2 -p same")
    assert "padding=1, output_padding=1" in output(capsys, "explain 4 -k 3 -s 2 -p same_lower")


def test_channels_groups_and_batch(capsys):
    out = output(capsys, "explain 4 -k 3 -g 2 --in-channels 4 --out-channels 6 -n 5")
    assert "input  (5, 4, 4, 4)" in out
    assert "weight (4, 3, 3, 3)" in out
    assert "input  (1, 3, 4, 4)" in output(capsys, "explain 4 -k 3 -g 3")


def test_svg_goes_to_a_file_or_alone_to_the_output(capsys, tmp_path):
    path = tmp_path / "layer.svg"
    out = output(capsys, f"explain 4 -k 3 -s 2 --svg {path}")
    assert out.startswith("Transposed convolution")
    assert str(path) in out
    assert os.listdir(tmp_path) == ["layer.svg"]
    drawn = ElementTree.fromstring(path.read_text())
    alone = output(capsys, "explain 4 -k 3 -s 2 --svg -")
    assert alone.isascii()
    printed = ElementTree.fromstring(alone)
    assert [e.text for e in drawn.iter()] == [e.text for e in printed.iter()]


def test_png_and_gif_are_drawn_beside_the_text(capsys, tmp_path):
    pytest.importorskip("PIL.Image")
    files = {kind: tmp_path / f"layer.{kind}" for kind in ("svg", "png", "gif")}
    out = output(capsys, "explain 3 -k 3 -s 2 " + " ".join(f"--{kind} {file}" for kind, file in files.items()))
    assert sorted(os.listdir(tmp_path)) == ["layer.gif", "layer.png", "layer.svg"]
    assert files["png"].read_bytes()[:4] == b"\x89PNG"
    assert files["gif"].read_bytes()[:6] == b"GIF89a"
    assert [str(file) in out for file in files.values()] == [True] * 3


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_pictures_without_pillow_say_what_to_install(capsys, tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "PIL", None)
    status, out, err = run(capsys, f"explain 3 -k 3 --{kind} {tmp_path / 'x'}")
    assert (status, out) == (2, "")
    assert "pip install 'upconv[pictures]'" in err
    assert os.listdir(tmp_path) == []


def test_a_kernel_that_nobody_can_follow_is_not_animated(capsys, tmp_path):
    status, out, err = run(capsys, f"explain 50 -k 50 -p 40 --gif {tmp_path / 'x.gif'}")
    assert (status, out) == (2, "")
    assert "400 products" in err


def test_solve_lists_what_the_solver_finds(capsys):
    out = output(capsys, "solve --in-size 17 --out-size 32 --max-dilation 1 --all")
    found = settings(17, 32, max_dilation=1)
    listed = re.findall(r"^ *\d+  (kernel_size.*?)  ", out, re.MULTILINE)
    assert listed == [setting.arguments() for setting in found]
    assert f"{len(found)} settings" in out
    assert "sizes, not the values" in out
    assert "32 and 33" in out


def test_solve_shortens_and_keeps_given_values(capsys):
    out = output(capsys, "solve --in-size 17 --out-size 32")
    assert sum("kernel_size" in line for line in out.splitlines()) == 12 + 1  # and the footnote
    only = output(capsys, "solve --in-size 17 --out-size 32 -k 3 -s 2 -p 2 --op 1 -d 1")
    assert "1 setting within" in only
    assert "kernel_size=3, stride=2, padding=2, output_padding=1" in only


def test_solve_does_two_axes_together_or_apart(capsys):
    together = output(capsys, "solve --in-size 17x23 --out-size 32x44 --max-kernel 4")
    assert "17 × 23 to 32 × 44" in together
    assert "32 and 33 × 44 and 45" in together
    apart = output(capsys, "solve --in-size 17x23 --out-size 32x50 --max-kernel 4")
    assert "height 17 to 32" in apart
    assert "width 23 to 50" in apart
    different = output(capsys, "solve --in-size 4 --out-size 8 -k 2x4 -d 1")
    assert "k = 2" in different
    assert "k = 4" in different


def test_solve_claims_to_undo_only_what_is_undone(capsys):
    out = output(capsys, "solve --in-size 17 --out-size 32 -k 2 -s 2 -d 3")
    rows = {row.split("  ")[0]: row.split()[-1] for row in re.findall(r"^ +\d+  (kernel.*)$", out, re.MULTILINE)}
    assert rows["kernel_size=2, stride=2, padding=3, output_padding=2, dilation=3"] == "-"
    assert rows["kernel_size=2, stride=2, padding=2, dilation=3"] == "33"


def test_solve_beyond_its_bounds_names_something_that_works(capsys):
    assert "kernel_size=128, stride=128" in output(capsys, "solve --in-size 4 --out-size 512")


def test_translate_names_the_difference_and_the_exact_way(capsys):
    out = output(capsys, "translate --from keras -k 3 -s 2 --padding same --to torch")
    assert "cannot say this exactly" in out
    assert "height and width: torch cannot crop 0 at the beginning and 1 at the end" in out
    assert "y = y[:, :, :-1, :-1]" in out
    assert "weight = weight.transpose(3, 2, 0, 1)" in out
    assert "Holds for every input size" in out


def test_translate_runs_uncut_what_it_cuts_afterwards(capsys):
    out = output(capsys, "translate --from jax -k 3 -s 2 --padding 1:3 --to torch")
    assert "padding=(0, 0), output_padding=(1, 1))(x)\n  y = y[:, :, 1:, 1:]" in out
    assert "y = y[:, 1:, 1:, :]" not in out


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--from torch --to jax -k 3 -s 2 -p 1 --op 1", "padding=((1, 2), (1, 2))"),
        ("--from onnx --to keras -k 3 -s 2 --padding same_upper", "padding='same'"),
        ("--from onnx --to torch -k 3 -s 2 --padding 1:0", "padding=(1, 1), output_padding=(1, 1)"),
        ("--from jax --to torch -k 3 -s 2 --padding 1:2", "padding=(1, 1), output_padding=(1, 1)"),
        ("--from jax --to torch -k 5 -s 2 --padding 1 --consistent-padding", "padding=(1, 1), output_padding=(0, 0)"),
        ("--from torch --to onnx -k 3x5 -s 2x1 -p 1x2", "kernel_shape=[3, 5], strides=[2, 1]"),
        ("--from torch --to onnx -k 3x4 -s 2 -p 0x1 --op 1x0", "output_padding=[1, 0], pads=[0, 1, 0, 1]"),
        ("--from keras --to torch -k 3 -s 2", "padding=(0, 0), output_padding=(0, 0)"),
        ("--from jax --to onnx -k 3x4 -s 2", "output_padding=[0, 0], pads=[0, 1, 1, 1]"),
    ],
)
def test_translations_that_are_exact(capsys, line, expected):
    out = output(capsys, f"translate {line}")
    assert "Exactly the same" in out
    assert expected in out.splitlines()[1]


def test_translate_says_when_the_answer_depends_on_the_size(capsys):
    out = output(capsys, "translate --from onnx --to torch -k 3 -s 2 --output-shape 10x8 --in-size 4")
    assert "depends on the input size: here 4 × 4 gives 10 × 8." in out
    assert "padding=(0, 1), output_padding=(1, 1)" in out


def test_translate_says_that_keras_has_no_groups(capsys):
    assert "keras has none; 2 layers" in output(capsys, "translate --from torch --to keras -k 2 -s 2 -g 2")
    assert "groups:" not in output(capsys, "translate --from torch --to onnx -k 2 -s 2 -g 2")


def test_plan_prints_the_plan(capsys):
    assert "matmul" in output(capsys, "plan 8 -k 3 -s 2 -p 1 --in-channels 4")


def test_plan_of_a_prepared_weight(capsys):
    line = "plan 8 -k 3 -s 2 --in-channels 4 --out-channels 8"
    assert "weight as given" in output(capsys, line)
    assert "weight prepared" in output(capsys, line + " --prepared")
    assert "by matmul" in output(capsys, line + " --prepared --algorithm matmul")
    assert "kept in bfloat16" in output(capsys, line + " --prepared --storage bfloat16")
    for wrong, words in (("bfloat16", "add --prepared"), ("float16 --prepared --dtype float64", "float32 alone")):
        status, out, err = run(capsys, f"{line} --storage {wrong}")
        assert (status, out) == (2, "")
        assert words in err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("explain", "required"),
        ("explain 4", "-k/--kernel-size"),
        ("explain 4y -k 3", "4y"),
        ("explain 4x4x4x4 -k 3", "4x4x4x4"),
        ("explain 4 -k 3x", "3x"),
        ("explain 4 -k 0", "kernel is"),
        ("explain 0 -k 3", "input size is 0"),
        ("explain 4 -k 3 -s 0", "stride is (0, 0)"),
        ("explain 4 -k 3 -s 2 --op 2", "at most 1"),
        ("explain 4 -k 3 -p SAME", "same_lower"),
        ("explain 4 -k 3 -p 1:2:3", "1:2:3"),
        ("explain 4 -k 3 -p same --op 1", "leave output_padding at 0"),
        ("explain 4 -k 3 -p 9", "output size would be"),
        ("explain 4 -k 3 -g 2 --in-channels 3", "groups=2 does not divide"),
        ("explain 4 -k 3 -g 0", "groups is 0"),
        ("explain 4 -k 3 --svg /no/such/folder/a.svg", "/no/such/folder/a.svg: No such file"),
        ("solve --in-size 4 --out-size 0", "output size is 0"),
        ("solve --in-size 4 --out-size 8 -k -1", "kernel is -1"),
        ("solve --in-size 1 --out-size 300 --max-kernel 1000 --max-stride 200", "too many"),
        ("translate --from keras --to torch -k 3 --padding foo", "'valid', 'same'"),
        ("translate --from torch --to onnx -k 3 -p 1:2", "torch cannot say"),
        ("translate --from torch --to onnx -k 3 -p 1x1x1", "1x1x1"),
        ("translate --from jax --to onnx -k 3 -s 2 --op 1", "jax has no output_padding"),
        ("translate --from torch --to onnx -k 3 --output-shape 8", "belongs to onnx"),
        ("translate --from caffe --to onnx -k 3", "caffe"),
        ("translate --from torch --to torch -k 3 -p same", "takes numbers only"),
        ("translate --from torch --to jax -k 3 --consistent-padding", "belongs to jax"),
        ("translate --from torch --to onnx -k 3 -g 0", "groups is 0"),
        ("translate --from torch --to onnx -k 3 -g -2", "groups is -2"),
        ("translate --from keras --to onnx -k 3 -g 2", "keras has none"),
        ("demo --seed -1", "--seed is -1"),
        ("demo --out /proc/none", "/proc/none: "),
        (f"explain {'9' * 5000} -k 3", "at most 9 digits"),
        ("explain -4x4 -k 3", "input size is -4"),
        ("solve --in-size 4 --out-size 8 --max-padding -1", "max_padding is -1"),
        ("solve --in-size 17 --out-size 32 --max-kernel 90 --max-stride 100", "too many"),
        ("plan 4 -k 3 --algorithm nonsense", "nonsense"),
        ("nonsense", "nonsense"),
    ],
)
def test_refusals_are_one_line_and_status_2(capsys, line, words):
    status, out, err = run(capsys, line)
    assert (status, out) == (2, "")
    assert err.startswith("upconv")
    assert err.count("\n") == 1
    assert words in err


def test_help_shows_examples_that_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    np.savez("weights.npz", weight=np.ones((1, 1, 3, 3)))
    assert output(capsys, "") == output(capsys, "--help")
    for name, (example, _) in cli.EXAMPLES.items():
        assert example in output(capsys, "--help")
        assert output(capsys, f"{name} --help").endswith(f"example:\n  {example}\n")
        # A bench takes minutes and engines to compare with, onnx a model; their own tests run them.
        if name not in ("demo", "bench", "onnx"):
            assert output(capsys, example.removeprefix("upconv "))


@pytest.mark.parametrize("error", [MemoryError, OverflowError])
def test_numbers_too_large_are_refused_in_one_line(monkeypatch, capsys, error):
    def burst(*_):
        raise error

    monkeypatch.setattr(cli, "Explanation", burst)
    assert run(capsys, "explain 4 -k 3") == (2, "", "upconv explain: these numbers are too large to work with\n")


def test_version(capsys):
    assert output(capsys, "--version") == f"upconv {__version__}\n"


def test_an_empty_name_for_the_drawing_is_refused(capsys):
    assert main(["explain", "4", "-k", "3", "--svg", ""]) == 2
    assert "--svg is empty" in capsys.readouterr().err


def test_translate_claims_every_size_only_where_short_inputs_agree(capsys):
    line = "translate --from onnx --to torch -k 6 -s 1 -p SAME_LOWER"
    assert "Holds for every" not in output(capsys, f"{line} --in-size 2")
    assert "Holds for every" in output(capsys, "translate --from torch --to onnx -k 3 -s 2 -p 1")


def test_translate_cautions_from_the_stride_on(capsys):
    line = "translate --from torch --to onnx -k 3 -s 2 -d 3 --op"
    assert "ONNX Runtime does not" in output(capsys, f"{line} 2")
    assert "ONNX Runtime does not" not in output(capsys, f"{line} 1")


def test_interruption_is_status_130(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "Explanation", interrupt)
    assert run(capsys, "explain 4 -k 3") == (130, "", "")


def test_a_closed_pipe_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "upconv", "solve", "--in-size", "17", "--out-size", "32", "--all"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_narrow_encoding_is_no_error():
    done = module("explain", "4", "-k", "3", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 ? 4 to 6 ? 6" in done.stdout


def test_plan_measures_beside_its_predictions(capsys):
    out = output(capsys, "plan 4 -k 3 --measure --threads 1")
    lines = out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.strip().startswith("candidate"))
    assert lines[start].split() == "candidate predicted, 1 thread measured, threads: 1".split()
    rows = [line for line in lines[start + 1 :] if line]
    assert len(rows) == len(ALGORITHMS)
    measured = [line for line in rows if line.count("ms") == 2]
    assert all(line in measured or "refuses" in line for line in rows)
    assert len(measured) >= 2


def test_plan_leaves_the_number_of_threads_as_it_was(capsys):
    before = get_num_threads()
    assert "threads 3" in output(capsys, "plan 4 -k 3 --threads 3") or usable()
    assert get_num_threads() == before
    code, _, error = run(capsys, "plan 4 -k 3 --threads 0")
    assert code == 2
    assert "--threads is 0" in error


def test_bench_has_its_help(capsys):
    assert "upconv bench --quick" in output(capsys, "bench --help")


@pytest.mark.parametrize("written", ["4x6", "4X6", "4,6", "4×6", "4, 6", " 4 x 6 "])
def test_two_sizes_are_understood_however_they_are_joined(capsys, written):
    assert cli.main(["explain", written, "-k", "3"]) == 0
    assert "4 × 6 to 6 × 8" in capsys.readouterr().out
    assert cli.main(["explain", "9", "-k", "3", "-p", written.replace("6", "0").replace("4", "1")]) == 0
    assert "9 × 9 to 9 × 11" in capsys.readouterr().out


def test_signed_crops_too(capsys):
    for written in ("1:0x0:1", "1:0,0:1", "1:0 × 0:1"):
        assert cli.main(["explain", "9", "-k", "3", "-p", written]) == 0
        assert "crops (1, 0)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["pytorch", "PyTorch", "torch"])
def test_frameworks_are_known_by_the_names_that_people_use(capsys, name):
    want = output(capsys, "translate --from torch -k 3 -s 2 -p 1 --to keras")
    for other in ("keras", "tf", "tensorflow", "TensorFlow"):
        assert output(capsys, f"translate --from {name} -k 3 -s 2 -p 1 --to {other}") == want
    assert cli.main("translate --from torhc -k 3 --to keras".split()) == 2
    assert "must be one of torch, onnx, keras, jax; the nearest is torch" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["layer.png", "layer.PNG", "a.b/layer.jpeg", "layer.pdf"])
def test_a_drawing_is_not_written_under_the_name_of_another_kind(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", "4", "-k", "3", "--svg", name]) == 2
    assert "writes SVG" in (said := capsys.readouterr().err)
    assert name.rsplit(".", 1)[0] + ".svg would do" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("line", "framework"), [("artifacts a.pt", "torch"), ("onnx a.onnx", "onnx")])
def test_a_framework_that_is_not_there_is_named_with_what_installs_it(capsys, monkeypatch, line, framework):
    def missing(name, package):
        raise ModuleNotFoundError(f"No module named {framework!r}", name=framework)

    monkeypatch.setattr(cli, "import_module", missing)
    status, _, error = run(capsys, line)
    assert status == 2
    assert error == f"upconv {line.split()[0]}: {framework} is not installed: pip install 'upconv[{framework}]'\n"
