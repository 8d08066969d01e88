"""Columns of text."""

import unicodedata

INDENT = "  "


def aligned(rows, right=(), indent=INDENT) -> list[str]:
    """The rows as lines with their columns aligned; `right` names the columns that end, not begin, at one place.

    >>> aligned([("a", "1"), ("bcd", "20")], right=(1,))
    ['  a     1', '  bcd  20']
    """
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row, widths, right):
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - columns(cell))
        yield space + cell if place in right else cell + space


def marked(name: str, chosen: str | None = None) -> str:
    """A name with a star before it where it is the chosen one, and room for the star elsewhere.

    >>> marked("gemm", "gemm"), marked("gemm", "loops")
    ('* gemm', '  gemm')
    """
    return f"{'*' if name == chosen else ' '} {name}"


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: letters of some scripts take two.

    >>> columns("tap"), columns("탭")
    (3, 2)
    """
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)
