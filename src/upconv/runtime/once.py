"""Values whose addresses are noted in tables: made once and kept, whatever threads ask for them at the same time."""

from functools import wraps


def once(make):
    """`functools.cache` for them, which makes a value twice where two threads miss, and keeps but one.

    >>> once(len)("four")
    4
    """
    made = {}

    @wraps(make)
    def kept(*key):
        try:
            return made[key]
        except KeyError:
            # Without a lock, which a fork might copy while it is held: who comes second takes what the first has made.
            return made.setdefault(key, make(*key))

    kept.cache_clear = made.clear
    return kept
