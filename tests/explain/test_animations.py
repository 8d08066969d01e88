"""Moving pictures: every number on them is the library's, frames lie on one paper, the last shows the output."""

import numpy as np
import pytest
from explain.layers import AXES, square, torch_axis

from upconv import SettingError, conv_transpose2d
from upconv.explain.animation import animation, groups
from upconv.explain.scene import Rect, Text
from upconv.explain.values import output_value
from upconv.explain.views import INPUTS, TAPS, sum_of, value_of, views
from upconv.geometry import Axis, Geometry
from upconv.volume import Line

DOUBLING = torch_axis(3, 3, 2, 1, 1)
VIEWED = {
    "doubling": DOUBLING,
    "plain": torch_axis(3, 3),
    "holes": torch_axis(3, 3, 2, d=2),
    "gaps": torch_axis(3, 2, 3),
    "cut": torch_axis(4, 4, 2, 2),
    "beyond the canvas": torch_axis(3, 3, 2, 0, 1),
}


def words(scene):
    return " ".join(shape.content for shape in scene.shapes if isinstance(shape, Text))


def cells(scene):
    """What stands in the cells of the canvas, by position."""
    found, at = {}, None
    for shape in scene.shapes:
        if isinstance(shape, Rect):
            note = shape.note or ""
            at = note.split(":")[0].removeprefix("output ") if note.startswith("output (") else None
        elif at and isinstance(shape, Text):
            found[tuple(map(int, at.strip("()").split(", ")))] = int(shape.content)
            at = None
    return found


def on_paper(scene):
    paper = scene.shapes[0]
    assert (paper.width, paper.height) == (scene.width, scene.height)
    for shape in scene.shapes:
        if isinstance(shape, Rect):
            assert 0 <= shape.x <= shape.x + shape.width <= scene.width + 1, shape
            assert 0 <= shape.y <= shape.y + shape.height <= scene.height + 1, shape
        if isinstance(shape, Text):
            share = {"start": 1, "middle": 0.5, "end": 0}[shape.anchor]
            assert shape.x + shape.width * (share - 1) + 1 >= 0, shape
            assert shape.x + shape.width * share <= scene.width + 8, shape
            assert shape.y <= scene.height, shape


@pytest.mark.parametrize("name", [name for name in AXES if name != "beyond the canvas"])
def test_an_animation_ends_with_the_output(name):
    axis = AXES[name]
    frames = animation(square(axis))
    assert {(scene.width, scene.height) for scene, _ in frames} == {(frames[0][0].width, frames[0][0].height)}
    for scene, milliseconds in frames:
        on_paper(scene)
        assert milliseconds >= 500
    last = cells(frames[-1][0])
    assert last
    for (q, r), number in last.items():
        assert number == output_value(axis, axis, q - axis.crop_lo, r - axis.crop_lo), (q, r)


def test_every_input_has_a_frame_and_only_its_stamp_changes():
    frames = [cells(scene) for scene, _ in animation(square(torch_axis(3, 3, 2)))]
    assert len(frames) == 9 + 2
    assert len(frames[0]) == 9
    for i in range(1, 9):
        row, column = divmod(i, 3)
        stamp = {(2 * row + t, 2 * column + u) for t in range(3) for u in range(3)}
        changed = {at for at in frames[i] if frames[i][at] != frames[i - 1].get(at, 0)}
        assert changed <= stamp
        assert set(frames[i]) == set(frames[i - 1]) | stamp


def test_output_padding_is_shown_after_the_cut_without_it():
    *_, before, after = [scene for scene, _ in animation(square(DOUBLING))]
    assert "padding=1 cuts here, output_padding=0: output 5 × 5" in words(before)
    assert "output 6 × 6" in words(after)
    assert "output_padding=1 keeps this" in words(after)
    # What comes back is what lay on the canvas, no zero.
    added = set(cells(after)) - set(cells(before))
    assert len(added) == 11
    assert all(cells(after)[at] == output_value(DOUBLING, DOUBLING, at[0] - 1, at[1] - 1) for at in added)


def test_output_padding_beyond_the_canvas_is_said_to_be_the_bias():
    assert "beyond the canvas" in words(animation(square(torch_axis(3, 3, 2, 0, 1)))[-1][0])


def test_long_layers_show_their_beginning_and_vast_kernels_are_refused():
    frames = animation(square(torch_axis(64, 4, 2, 1)))
    assert len(frames) < 25
    with pytest.raises(SettingError, match="more than 400 products"):
        animation(square(torch_axis(50, 50, 1, 40)))


@pytest.mark.parametrize("name", VIEWED)
def test_the_four_views_agree_with_the_library(name):
    axis = VIEWED[name]
    x, w = np.array(INPUTS, float)[: axis.n], np.array(TAPS, float)[: axis.k]
    crops = (0, 0), (axis.crop_lo, axis.crop_hi)
    y = conv_transpose2d(
        x[None, None, None], w[None, None, None], stride=(1, axis.s), padding=crops, dilation=(1, axis.d)
    ).ravel()
    assert [value_of(axis, o) for o in range(axis.out)] == y.tolist()
    frames = views(axis)
    assert len(frames) == axis.out
    for o, (scene, _) in enumerate(frames):
        on_paper(scene)
        assert sum_of(axis, o) in words(scene)
        for view in ("Write:", "Read:", "Phases:", "Wires:"):
            assert view in words(scene)


def test_the_views_tell_the_pages_story():
    assert [value_of(DOUBLING, o) for o in range(6)] == [6, 5, 3, 5, 9, 6]


def test_the_four_views_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="at most 14 positions"):
        views(torch_axis(32, 4, 2, 1))
    with pytest.raises(ValueError, match="at most 14"):
        views(Axis(2, 2, crop_lo=-1))


def test_groups_are_shown_one_by_one():
    geometry = Geometry(1, 4, 6, 2, DOUBLING, DOUBLING)
    frames = groups(geometry)
    assert len(frames) == 3
    for scene, _ in frames:
        on_paper(scene)
    assert "weight (4, 3, 3, 3)" in words(frames[0][0])
    assert "Group 1: input channels 2 to 3 reach output channels 3 to 5, by weight[2:4]" in words(frames[2][0])
    assert len(groups(square(DOUBLING, 3))) == 1


def test_what_is_not_shown_is_not_pointed_at():
    last = words(animation(square(torch_axis(40, 4, 4, 1, 1)))[-1][0])
    assert "keeps this" not in last
    assert "output_padding=1 keeps more at the ends, which are not shown: output 159 × 159" in last
    assert "output_padding=1 keeps this: output 6 × 6" in words(animation(square(DOUBLING))[-1][0])


def test_what_is_kept_at_an_end_that_is_shown_is_pointed_at():
    # The rows are few and shown to their end, the columns are not.
    layer = Geometry(1, 1, 1, 1, DOUBLING, torch_axis(40, 3, 2, 1, 1))
    assert "output_padding=1 keeps this: output 6 × 80" in words(animation(layer)[-1][0])
    beyond = words(animation(square(torch_axis(40, 4, 4, 0, 1)))[-1][0])
    assert "output_padding=1 goes beyond the canvas, to the bias alone: output 161 × 161" in beyond


def test_a_line_is_animated_as_one():
    frames = [words(scene) for scene, _ in animation(Line(1, 1, 1, 1, DOUBLING))]
    assert len(frames) == 3 + 3
    assert "Input 1 is 2. 2 × kernel, added at position 2" in frames[1]
    assert "canvas 7" in frames[3]
    assert "padding=1 cuts here, output_padding=0: output 5" in frames[4]
    assert "output_padding=1 keeps this: output 6" in frames[5]


def test_a_group_of_one_channel_is_called_so():
    moving = words(groups(Geometry(1, 2, 4, 2, DOUBLING, DOUBLING))[1][0])
    assert "Group 0: input channel 0 reaches output channels 0 to 1, by weight[0:1]." in moving
