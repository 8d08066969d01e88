"""Scripts and styles without comments and needless spaces: what the page carries is a third smaller than its source.

Names stay as they are, so what a browser's inspector shows can be found in the source.
"""

import re

# In this order: what a quote or a comment hides is not looked at.
TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    | (?P<template>`)
    | (?P<word>[\w$]+)
    | (?P<space>\s+)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
REGEX = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/\w*")
# After these a slash begins a regular expression; after anything else it divides.
BEFORE_REGEX = (*"(,=:[!&|?{};", "return", "=>", "")
# A line that ends or begins with one of these goes on.
OPEN = set("{([,;=+-*/&|?:<>.!")
CLOSED = set(")]},;=+*/&|?:<>.")


def script(text: str) -> str:
    """A script in which every line break still ends a statement, or is gone.

    >>> script("// why\\nconst a = (b + c) / 2;\\n\\nreturn a;\\n")
    'const a=(b+c)/2;return a;'
    >>> script("const x = `a  ${b  +  `c  d`}`; const y = /[/ ]/g;")
    'const x=`a  ${b  +  `c  d`}`;const y=/[/ ]/g;'
    """
    kept, at, before, gap = [], 0, "", ""
    while at < len(text):
        found = TOKEN.match(text, at)
        kind, token = found.lastgroup, found[0]
        if kind == "sign" and token == "/" and before in BEFORE_REGEX:
            token = REGEX.match(text, at)[0]
        elif kind == "template":
            token = text[at : _template_end(text, at)]
        at += len(token)
        if kind in ("space", "comment"):
            gap = "\n" if "\n" in gap + token else " "
            continue
        kept.append(_between(before, token, gap) + token)
        before, gap = token, ""
    return "".join(kept)


def _between(before, token, gap):
    """What must stay of the space between two tokens."""
    if not gap or not before:
        return ""
    last, first = before[-1], token[0]
    if gap == "\n" and last not in OPEN and first not in CLOSED:
        return "\n"
    words = (last.isalnum() or last in "_$") and (first.isalnum() or first in "_$")
    # a + +b and a - -b are no increments.
    return " " if words or (last == first and last in "+-") else ""


def _template_end(text, at):
    """Where the template literal that begins here ends, with all that is nested in it."""
    at += 1
    while text[at] != "`":
        if text[at] == "\\":
            at += 2
        elif text.startswith("${", at):
            at = _braces_end(text, at + 2)
        else:
            at += 1
    return at + 1


def _braces_end(text, at):
    depth = 1
    while depth:
        if text[at] == "`":
            at = _template_end(text, at)
            continue
        if text[at] in "\"'":
            at += len(TOKEN.match(text, at)[0])
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return at


def style(text: str) -> str:
    """A style sheet on few lines.

    >>> style("/* why */\\n.a  { color: red;  margin: 0 auto }\\n")
    '.a{color:red;margin:0 auto}'
    """
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r" ?([{};,>]) ?|(:) ", lambda found: found[1] or found[2], text)
