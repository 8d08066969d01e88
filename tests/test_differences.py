"""docs/differences.md is the table of tests/differences.py, and upconv answers as the table says."""

import differences
import pytest
from require import require


@pytest.mark.parametrize(("what", "code", "theirs", "ours"), differences.rows(), ids=[r[0] for r in differences.rows()])
def test_upconv_answers_as_the_table_says(what, code, theirs, ours):
    if "bfloat16" in code:
        require("ml_dtypes")
    assert differences.outcome(code, differences.upconv_names()) == ours


def test_the_page_is_the_table():
    assert differences.PAGE.read_text(encoding="utf-8") == differences.page(), "run: python tests/differences.py"


def test_no_call_is_listed_twice():
    calls = [row[1] for row in differences.rows()]
    assert len(calls) == len(set(calls))
