"""Caches of functions of texts that others choose: bounded in number as any, and without the long ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

LONGEST = 1000
"""Characters that the arguments of a kept answer have together."""
P = ParamSpec("P")
R = TypeVar("R")


def remembered(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As `lru_cache`; the arguments are texts, None, or collections of such, given by position."""

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        kept = lru_cache(maxsize=most)(work)

        @wraps(work)
        def ask(*args: P.args, **kwargs: P.kwargs) -> R:
            if kwargs or _length(cast(Iterable[object], args)) > LONGEST:
                return work(*args, **kwargs)
            return kept(*args)

        return ask

    return decorate


def _length(values: Iterable[object]) -> int:
    total = 0
    for one in values:
        if type(one) is str:
            total += len(one)
        elif one is not None:
            total += _length(cast(Iterable[object], one))
    return total
