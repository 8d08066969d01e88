"""The colours of the pictures. The hue tells the residue of the row, the shade that of the column.

The hues are Okabe and Ito's, which people with any kind of colour vision can tell apart; they are mixed with white so
that black figures stay readable on them, and no meaning rests on colour alone: every cell carries its number.
"""

HUES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#999999")

INK = "#1b1f24"
MUTED = "#5b6470"
FAINT = "#9aa3ad"
PAPER = "#ffffff"
PANEL = "#f6f7f9"
RULE = "#d5dae0"
INPUT = "#d9dde3"
CROPPED = "#f1f2f4"
CROPPED_HATCH = "#c3c9d1"
FIRST_STAMP = "#1b1f24"
SECOND_STAMP = "#b3261e"

STRONGEST, WEAKEST = 0.78, 0.30


def phase_colour(row, column=0, columns=1):
    """The colour of a phase from its residue in the row and in the column, of `columns` residues.

    >>> phase_colour(0, 0, 2), phase_colour(0, 1, 2), phase_colour(1, 1, 2)
    ('#7bc4ee', '#cce8f8', '#f8e2b2')
    """
    share = STRONGEST if columns == 1 else STRONGEST - (STRONGEST - WEAKEST) * column / (columns - 1)
    return mix(HUES[row % len(HUES)], share)


def mix(colour, share):
    """A colour mixed with white, of which it keeps the given share.

    >>> mix("#000000", 0.5)
    '#808080'
    """
    channels = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - channel) * share):02x}" for channel in channels)
