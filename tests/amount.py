"""How much is tried: a sample of the random cases, which takes minutes, or all of them under ``pytest --full``."""

#: Set by tests/conftest.py before any test is collected.
full = False


def some(sample, everything):
    """The sample, or everything under ``--full``."""
    return everything if full else sample
