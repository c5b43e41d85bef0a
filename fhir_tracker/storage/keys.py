"""Internal row keys, handed out in blocks so that a write knows its keys before it happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from sqlalchemy import TextClause, text

BLOCK = 1000

NEXT_BLOCK = {
    "sqlite": text("UPDATE key_block SET next = next + 1 WHERE id = 1 RETURNING next - 1"),
    "postgresql": text("SELECT nextval('key_block_seq')"),
}


class KeyPool:
    """Keys of committed blocks that nobody has used yet; shared by the transactions of one process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._ranges: list[range] = []

    def take(self) -> range:
        """What is left of some block, or an empty range."""
        with self._guard:
            return self._ranges.pop() if self._ranges else range(0)

    def give(self, rest: range) -> None:
        """Hand back keys that a committed transaction did not use."""
        if rest:
            with self._guard:
                self._ranges.append(rest)


class Keys:
    """The keys of one transaction. A block drawn in a transaction that rolls back is forgotten with it."""

    def __init__(self, pool: KeyPool, draw: Callable[[Mapping[str, TextClause]], int]) -> None:
        self._pool = pool
        self._draw = draw
        self._next = self._end = 0
        self._asked = False

    def take(self) -> int:
        """The next key, never given out before."""
        if self._next == self._end:
            self._refill()
        key = self._next
        self._next = key + 1
        return key

    def release(self) -> None:
        """Give unused keys back, after the commit."""
        self._pool.give(range(self._next, self._end))
        self._next = self._end = 0

    def _refill(self) -> None:
        left = range(0) if self._asked else self._pool.take()
        self._asked = True
        if not left:
            block = self._draw(NEXT_BLOCK)
            left = range(block * BLOCK + 1, (block + 1) * BLOCK + 1)
        self._next, self._end = left.start, left.stop
