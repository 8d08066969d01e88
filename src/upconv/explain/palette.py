"""The colours of the pictures, on light paper and on dark. The hue tells the row's residue, the shade the column's.

The hues are Okabe and Ito's, which people with any kind of colour vision can tell apart; they are mixed with the paper
so that figures stay readable on them, and no meaning rests on colour alone: cells carry their phase's letter.
"""

from string import ascii_lowercase

HUES = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#999999")


class Colour(str):
    """A colour as `#rrggbb` on light paper, which knows the one that takes its place on dark paper.

    >>> Colour("#ffffff", "#14171c"), Colour("#ffffff", "#14171c").dark
    ('#ffffff', '#14171c')
    """

    dark: str

    def __new__(cls, light, dark):
        colour = super().__new__(cls, light)
        colour.dark = dark
        return colour


WHITE, DARK_PAPER = "#ffffff", "#14171c"
INK = Colour("#1b1f24", "#f2f4f7")
MUTED = Colour("#56606c", "#a9b3bf")
FAINT = Colour("#8a949f", "#7d8894")
PAPER = Colour(WHITE, DARK_PAPER)
PANEL = Colour("#f4f6f8", "#1d2229")
RULE = Colour("#d5dae0", "#39424d")
INPUT = Colour("#e3e7ec", "#2c333c")
CROPPED = Colour("#f1f2f4", "#1a1e24")
CROPPED_HATCH = Colour("#c3c9d1", "#4a545f")
FIRST_STAMP = INK
SECOND_STAMP = Colour("#a3210f", "#ff9c8c")
ACTION = Colour("#0b5cad", "#7db7ff")

STRONGEST, WEAKEST = 0.78, 0.30
# On dark paper the text is light, so that hues must stay darker.
DARK_STRONGEST, DARK_WEAKEST = 0.42, 0.20


def phase_colour(row, column=0, columns=1):
    """The colour of a phase from its residue in the row and in the column, of `columns` residues.

    >>> phase_colour(0, 0, 2), phase_colour(0, 1, 2), phase_colour(1, 1, 2)
    ('#7bc4ee', '#cce8f8', '#f8e2b2')
    """
    weaker = 0 if columns == 1 else column / (columns - 1)
    light, dark = (
        strongest - (strongest - weakest) * weaker
        for strongest, weakest in ((STRONGEST, WEAKEST), (DARK_STRONGEST, DARK_WEAKEST))
    )
    hue = HUES[row % len(HUES)]
    return Colour(mix(hue, light), mix(hue, dark, DARK_PAPER))


def phase_letter(row, column=0, columns=1):
    """The letter of a phase: a, b, ... by rows, two letters after z, and none beyond two.

    >>> phase_letter(0), phase_letter(1, 1, 2), phase_letter(5, 2, 6), phase_letter(10**7)
    ('a', 'd', 'ag', '')
    """
    number, letters = row * columns + column, len(ascii_lowercase)
    if number < letters:
        return ascii_lowercase[number]
    first, second = divmod(number - letters, letters)
    return ascii_lowercase[first] + ascii_lowercase[second] if first < letters else ""


def mix(colour, share, paper=WHITE):
    """A colour mixed with that of the paper; it keeps the given share.

    >>> mix("#000000", 0.5), mix("#000000", 0.5, "#202020")
    ('#808080', '#101010')
    """
    pairs = ((int(colour[at : at + 2], 16), int(paper[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(below - (below - above) * share):02x}" for above, below in pairs)
