"""Columns of text."""

INDENT = "  "


def aligned(rows, right=(), indent=INDENT) -> list[str]:
    """The rows as lines with their columns aligned; `right` names the columns that end, not begin, at one place.

    >>> aligned([("a", "1"), ("bcd", "20")], right=(1,))
    ['  a     1', '  bcd  20']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row, widths, right):
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.rjust(width) if place in right else cell.ljust(width)
