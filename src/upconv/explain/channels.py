"""Which channels a layer connects, as wires, and the shape of the weight that says so."""

from . import palette
from . import words as english
from .scene import Line, Rect, Text, paragraph

NODE, STEP, SPAN = 16, 21, 120
MOST, TAP = 8, 13
SMALL = 12
# Groups and residues share the hues; a group's letter would be a phase's, so that wires carry none.
STRONG, WEAK = 0.9, 0.35


def channels(geometry, x, y, width, chosen=None, words=english):
    """Input channels, wires and output channels, with the weight's shape beside them.

    Args:
        geometry: the layer.
        x, y, width: where it may stand.
        chosen: a group to show alone, or None for all.
        words: the module of the sentences.

    Gives the shapes and the height used.
    """
    wires, height = bundles(geometry, x, y, chosen, words)
    lines, used = [], 14
    for line in words.weight_words(geometry):
        drawn, more = paragraph(line, x + SPAN + 90, y + used, width - SPAN - 90, SMALL + 0.5)
        lines += drawn
        used += more + 3
    return wires + lines, max(height, used)


def bundles(geometry, x, y, chosen=None, words=english):
    """The wires alone: input channels on the left, output channels on the right, a bundle for each group."""
    shown_in, shown_out = min(geometry.c_in, MOST), min(geometry.c_out, MOST)
    rows = max(shown_in, shown_out)
    left, right = (
        [y + NODE / 2 + STEP * (c + (rows - count) / 2) for c in range(count)] for count in (shown_in, shown_out)
    )
    per_in, per_out = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    begin, end = x + 34, x + SPAN
    wires, nodes = [], []
    for i, from_y in enumerate(left):
        group = i // per_in
        for o in range(group * per_out, min((group + 1) * per_out, shown_out)):
            is_on = chosen in (None, group)
            colour = _colour(group, geometry.groups) if is_on else palette.RULE
            wires.append(Line(begin + NODE, from_y, end, right[o], colour, 1.8 if is_on else 0.8))
    if shown_in < geometry.c_in or shown_out < geometry.c_out:
        wires += _unseen(geometry, (begin + NODE, left, geometry.c_in), (end, right, geometry.c_out), chosen)
    for is_input, places, at, per in ((True, left, begin, per_in), (False, right, end, per_out)):
        for c, place in enumerate(places):
            is_on = chosen in (None, c // per)
            nodes += _node(at, place, c, _colour(c // per, geometry.groups) if is_on else palette.RULE)
        nodes.append(_end(is_input, at, places, words))
    for count, shown, at, places in (
        (geometry.c_in, shown_in, begin, left),
        (geometry.c_out, shown_out, end, right),
    ):
        if count > shown:
            nodes.append(Text(at + NODE / 2, places[-1] + NODE + 6, words.in_all(count), 11, palette.MUTED, "middle"))
    height = rows * STEP + (14 if max(geometry.c_in, geometry.c_out) > MOST else 0)
    return wires + nodes, height


def _unseen(geometry, inputs, outputs, chosen):
    """Wires between a channel that is drawn and those that are not, dashed and towards the dots that stand for them."""
    for (x, places, count), (to_x, others, all_others) in ((inputs, outputs), (outputs, inputs)):
        per, per_other = count // geometry.groups, all_others // geometry.groups
        for c, y in enumerate(places):
            group = c // per
            if len(others) < min((group + 1) * per_other, all_others):
                colour = _colour(group, geometry.groups) if chosen in (None, group) else palette.RULE
                yield Line(x, y, to_x, others[-1] + STEP * 0.5, colour, 0.9, dash=True)


def weight_blocks(geometry, x, y, chosen=None):
    """The weight as a grid: a row for each input channel, a block (a kernel) for each output channel of its group.

    Gives the shapes, and the width and height used.
    """
    per_in, per_out = geometry.c_in // geometry.groups, geometry.c_out // geometry.groups
    rows, columns = min(geometry.c_in, MOST), min(per_out, MOST)
    taps_h, taps_w = min(geometry.h.k, 4), min(geometry.w.k, 4)
    shapes = [Text(x + 52, y + 2, f"weight {geometry.weight_shape}", SMALL + 1, palette.INK, bold=True)]
    left, top = x + 52, y + 14
    wide, high = taps_w * TAP + 10, taps_h * TAP + 8
    for i in range(rows):
        group = i // per_in
        is_on = chosen in (None, group)
        strong, weak = (_colour(group, geometry.groups, share) for share in (STRONG, WEAK))
        colour, fill = (strong, weak) if is_on else (palette.RULE, palette.PANEL)
        shapes.append(Text(left - 8, top + i * high + taps_h * TAP / 2 + 4, f"in {i}", 11, palette.MUTED, "end"))
        for o in range(columns):
            corner = left + o * wide, top + i * high
            shapes.append(Rect(*corner, taps_w * TAP, taps_h * TAP, palette.PAPER, colour, 1.6))
            shapes += [
                Rect(corner[0] + u * TAP + 2, corner[1] + t * TAP + 2, TAP - 4, TAP - 4, fill)
                for t in range(taps_h)
                for u in range(taps_w)
            ]
            if is_on:
                place = corner[0] + taps_w * TAP / 2, corner[1] + taps_h * TAP / 2 + 4
                shapes.append(Text(*place, f"out {group * per_out + o}", 11, palette.INK, "middle", bold=True))
    return shapes, 52 + columns * wide, 14 + rows * high


def _end(is_input, at, places, words):
    """The word beside a column of channels."""
    middle = (places[0] + places[-1]) / 2 + 4
    if is_input:
        return Text(at - 6, middle, words.CHANNEL_IN, SMALL, palette.MUTED, "end")
    return Text(at + NODE + 6, middle, words.CHANNEL_OUT, SMALL, palette.MUTED)


def _node(x, y, number, colour):
    return [
        Rect(x, y - NODE / 2, NODE, NODE, palette.PAPER, colour, 2, radius=NODE / 2),
        Text(x + NODE / 2, y + 3.6, str(number), 10, palette.INK, "middle"),
    ]


def _colour(group, groups, share=STRONG):
    if groups == 1:
        return palette.FAINT if share == STRONG else palette.INPUT
    hue = palette.HUES[group % 4]
    return palette.Colour(palette.mix(hue, share), palette.mix(hue, share, palette.DARK_PAPER))
