"""Programs that are kept for the next call like theirs, bounded in bytes.

A program says how many bytes it keeps alone (`nbytes`), and which tables it has in common with others (`shared`).
"""

import os
import threading
from collections import Counter, OrderedDict
from contextlib import suppress


class ProgramCache:
    """Programs by key, those used last kept: at most so many bytes of tables, and at least the last one.

    A table that several share counts once.
    """

    def __init__(self, most_bytes):
        self.most_bytes, self.nbytes = most_bytes, 0
        self._kept = OrderedDict()
        # By identity of a shared table, how many of the programs that are kept hold it.
        self._holders = Counter()
        # A signal's handler may come back here in the thread that holds the lock.
        self._lock = threading.RLock()

    def __len__(self):
        return len(self._kept)

    def get(self, key, make):
        """The program of a key, made if it is not there."""
        kept = self._kept
        made = kept.get(key)
        if made is not None:
            # Another thread may just have dropped it; it is as good as before.
            with suppress(KeyError):
                kept.move_to_end(key)
            return made
        made = make()
        with self._lock:
            if key not in kept:
                kept[key] = made
                self._take(made)
            while self.nbytes > self.most_bytes and len(kept) > 1:
                self._drop(kept.popitem(last=False)[1])
        return made

    def _take(self, made):
        self.nbytes += made.nbytes
        for table in made.shared:
            self.nbytes += 0 if self._holders[id(table)] else table.nbytes
            self._holders[id(table)] += 1

    def _drop(self, made):
        self.nbytes -= made.nbytes
        for table in made.shared:
            self._holders[id(table)] -= 1
            if not self._holders[id(table)]:
                self.nbytes -= table.nbytes
                # Another may get its identity.
                del self._holders[id(table)]

    def cache_clear(self):
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self._holders.clear()
            self.nbytes = 0

    def wait_in_forks(self):
        """Let forks wait while another thread changes this: their children have no lock that is held, and no half."""
        lock = self._lock
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
