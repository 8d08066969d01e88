"""Values made once and kept: those whose addresses are noted, and some of those that a key says all of."""

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


class Kept(dict):
    """What was made for keys, of which there are at most so many: with one more, all are forgotten.

    >>> kept = Kept(2)
    >>> kept.get_or_make("four", lambda: 4), kept.get_or_make("four", lambda: 5)
    (4, 4)
    """

    __hash__ = object.__hash__

    def __init__(self, most):
        super().__init__()
        self.most = most

    def get_or_make(self, key, make):
        """The value of a key, which is not None; two threads that miss may make it twice."""
        found = self.get(key)
        if found is None:
            if len(self) >= self.most:
                self.clear()
            found = self[key] = make()
        return found

    def cache_clear(self):
        self.clear()
