"""Searches of ours that may name a patient go by POST, so that no address on the way, and no log of one, tells who it is.

A server that takes no POST is asked by GET instead, and it is remembered.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import parse_qsl

from fhir_tracker import clock
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.search_seen import AUTO, GET, Seen

FORM = "application/x-www-form-urlencoded"
_OPEN = frozenset(
    "_lastUpdated _count _sort _summary _elements _total _include _revinclude _format _type _profile "
    "status category intent class type code date".split()
)
"""Parameters that tell nothing of who is asked about, whatever their value."""
_NEVER = frozenset({405, 415, 501})
_NOT_TAKEN = _NEVER | {301, 302, 303, 404}
_DOUBTFUL = _NOT_TAKEN | {400, 403, 406, 411, 422}


@dataclass(frozen=True, kw_only=True)
class Question:
    """A search of one type at `url`; `form` is what it asks, as a form has it."""

    type: str
    url: str
    form: str = field(repr=False)


class SearchWays(Protocol):
    """Who knows how the searches of one server go."""

    def is_posted(self, type_: str) -> bool:
        """Whether a search of the type goes by POST."""

    def is_doubted(self, type_: str, status: int) -> bool:
        """Whether an answer to a POST may mean that the server takes none, so that a GET has to tell."""

    def compared(self, type_: str, status: int) -> None:
        """What the same by GET was answered with, after one that was doubted."""


def question_in(url: str, base_url: str) -> Question | None:
    """The search that an address of ours is, when it may name a patient; None for everything else."""
    address, _, form = url.partition("?")
    type_ = address.removeprefix(f"{base_url}/")
    if type_ not in resource_types():
        return None
    names = (name.partition(":")[0] for name, _ in parse_qsl(form, keep_blank_values=True))
    return None if all(name in _OPEN for name in names) else Question(type=type_, url=address, form=form)


class Ways:
    """The searches of one server as they went, known to this object alone; `way` POST or GET is never departed from."""

    def __init__(self, way: str = AUTO, now: Callable[[], datetime] = clock.now) -> None:
        self._way = way
        self._now = now
        self._seen: Seen | None = None

    def is_posted(self, type_: str) -> bool:
        """See SearchWays."""
        return self._way != GET and (self._way != AUTO or self._known().is_posted(type_))

    def is_doubted(self, type_: str, status: int) -> bool:
        """See SearchWays."""
        if self._way != AUTO:
            return False
        posted = self._known().posted
        if 200 <= status < 300:
            if type_ not in posted:
                self._seen = self._changed(lambda known: known.answered(type_))
            return False
        return status in (_NEVER if type_ in posted else _NOT_TAKEN if posted else _DOUBTFUL)

    def compared(self, type_: str, status: int) -> None:
        """See SearchWays."""
        now, worked = self._now(), 200 <= status < 300
        self._seen = self._changed(lambda known: known.compared(type_, worked=worked, now=now))

    def _known(self) -> Seen:
        if self._seen is None:
            self._seen = self._read()
        return self._seen

    def _read(self) -> Seen:
        return Seen()

    def _changed(self, change: Callable[[Seen], Seen]) -> Seen:
        return change(self._known())
