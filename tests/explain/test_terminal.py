"""Scenes in a terminal: the same figures as in the other renderings, at places that line up, with or without colour."""

import re

import pytest
from explain.layers import AXES, square, torch_axis

from upconv.cli import main
from upconv.explain import palette
from upconv.explain.layer import maps_scene
from upconv.explain.scene import Arrow, Line, Rect, Scene, Text
from upconv.explain.terminal import HATCH, terminal
from upconv.explain.values import output_value

DOUBLING = torch_axis(4, 3, 2, 1, 1)


def shown(*shapes, colour=False, dark=False):
    return terminal(Scene(136, 68, "t", "d", shapes), colour, dark)


@pytest.mark.parametrize("name", [name for name in AXES if name not in ("beyond the canvas", "deeper cut")])
def test_the_figures_of_the_output_stand_in_its_rows(name):
    axis = AXES[name]
    lines = terminal(maps_scene(square(axis)), False).splitlines()
    # The row of a map's figures begins with its number, behind what stands in the left half.
    columns = max(line.find("output ") for line in lines)
    for o in range(min(axis.out, 4)):
        row = next(line[columns - 3 :] for line in lines if re.match(rf"[ ]*{o} ", line[columns - 3 : columns + 1]))
        figures = [int(found) for found in re.findall(r"\d+", row[3:])]
        expected = [output_value(axis, axis, o, m) for m in range(min(axis.out, 4))]
        assert figures[: len(expected)] == expected, row


def test_every_shape_has_characters():
    assert shown(Text(0, 12, "left"), Text(136, 12, "right", anchor="end")).split() == ["left", "right"]
    assert HATCH * 5 in shown(Rect(0, 0, 34, 34, None, hatch="#888888"))
    assert shown(Rect(0, 0, 68, 51, None, "#000000")).split() == ["┌", "┐", "└", "┘"]
    assert "────" in shown(Line(0, 17, 68, 17, "#000000"))
    assert shown(Line(10, 0, 10, 51, "#000000")).count("│") == 3
    assert shown(Line(0, 0, 68, 51, "#000000")) == ""
    assert shown(Arrow(0, 17, 68, 17, "#000000")).endswith(">")
    assert shown(Text(7, 12, "4", 8.0)).strip() == "₄"
    with pytest.raises(TypeError, match="str is not a shape"):
        shown("text")


def test_colours_are_those_of_the_scene_and_end_with_every_line():
    cell = Rect(0, 0, 34, 34, palette.phase_colour(1)), Text(17, 20, "7", anchor="middle")
    for dark, colour in ((False, palette.phase_colour(1)), (True, palette.phase_colour(1).dark)):
        text = shown(*cell, colour=True, dark=dark)
        wanted = ";".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
        assert f"\x1b[48;2;{wanted}m" in text
        assert all(line.endswith("\x1b[0m") for line in text.splitlines())
    assert "\x1b" not in shown(*cell)
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown(*cell, colour=True))
    assert plain.split() == ["7"]


def test_words_on_the_terminals_own_ground_keep_its_own_ink():
    assert "38;2" not in shown(Text(0, 12, "words"), colour=True)
    assert "38;2" in shown(Text(0, 12, "words", colour=palette.ACTION), colour=True)


def test_the_command_draws_before_the_words(capsys):
    assert main("explain 4 -k 3 -s 2 -p 1 --op 1 --draw".split()) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.index("y[1, 1] = 1·1 + 2·2 + 3·1 + 1·1 = 9") < out.index("The size, step by step")
    assert "output_padding=1 keeps this" in out


def test_a_layer_of_vast_numbers_is_drawn_too():
    for axis in (torch_axis(2, 3, 10**7), torch_axis(10**8, 3)):
        assert len(terminal(maps_scene(square(axis)), True).splitlines()) < 60
