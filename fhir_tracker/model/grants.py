"""What a SMART scope lets do with resources: parsed, and reduced to what is held.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote

from fhir_tracker.fhir.definitions.registry import resource_types

Level = Literal["patient", "user", "system"]
RIGHTS = "cruds"
ANY = "*"
MOST_TEXT = 2000
"""No scope is longer."""
_FORM = re.compile(
    r"(?P<level>patient|user|system)/(?P<type>\*|[A-Za-z]{1,40})"
    r"\.(?:(?P<first>read|write|\*)|(?P<rights>(?=[cruds])c?r?u?d?s?)(?:\?(?P<query>[^?#\s\"\\]+))?)"
)
_FIRST = {"read": "rs", "write": "cud", ANY: RIGHTS}
"""The rights of scopes of the first version."""
_WORDS = {frozenset(rights): word for word, rights in _FIRST.items()}


@dataclass(frozen=True)
class Grant:
    """One scope: rights (letters of `cruds`) on a type, `*` for any, of what all of `filters` (name, value) find."""

    level: Level
    type: str
    rights: frozenset[str]
    filters: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The scope, as version 2 writes it."""
        rights = "".join(one for one in RIGHTS if one in self.rights)
        query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in self.filters)
        return f"{self.level}/{self.type}.{rights}{'?' if query else ''}{query}"

    @property
    def first_text(self) -> str | None:
        """The scope as version 1 writes it; None where that has no word for it."""
        word = _WORDS.get(self.rights)
        return f"{self.level}/{self.type}.{word}" if word and not self.filters else None


@lru_cache(maxsize=4096)
def parse_scope(text: str) -> Grant | None:
    """The grant of a scope such as `user/Task.rs?status=requested` or `patient/*.read`; None when it is none or malformed."""
    found = _FORM.fullmatch(text) if len(text) <= MOST_TEXT else None
    if found is None or found["type"] not in resource_types() | {ANY}:
        return None
    level: Level = found["level"]  # type: ignore[assignment]
    filters = _filters(found["query"]) if found["query"] else ()
    if filters is None:
        return None
    rights = _FIRST[found["first"]] if found["first"] else found["rights"]
    return Grant(level, found["type"], frozenset(rights), filters)


def grants_of(scopes: Iterable[str]) -> tuple[Grant, ...]:
    """The grants among these scopes, once each, in order."""
    found = (parse_scope(one) for one in scopes)
    return tuple(dict.fromkeys(one for one in found if one is not None))


def narrowed(asked: str, held: Iterable[str]) -> tuple[str, ...]:
    """What of the scopes asked for (with spaces between) is held, in the order asked; none twice.

    A scope of resources is reduced to the types, rights and filters held at its level; any other is held or not.
    """
    owned = tuple(held)
    grants = grants_of(owned)
    given: dict[str, None] = {}
    for scope in asked.split():
        wanted = parse_scope(scope)
        if wanted is not None:
            given |= dict.fromkeys(_reduced(scope, wanted, grants))
        elif scope in owned and not _FORM.match(scope):
            given[scope] = None
    return tuple(given)


def _reduced(scope: str, wanted: Grant, held: Iterable[Grant]) -> list[str]:
    """The scope as it was written where it is held whole, else what two grants have in common, in words of its version."""
    common = [both for one in held if (both := _both(wanted, one)) is not None]
    if any(one == wanted for one in common):
        return [scope]
    is_first = scope == wanted.first_text
    return [(is_first and one.first_text) or one.text for one in common]


def _both(wanted: Grant, held: Grant) -> Grant | None:
    rights = wanted.rights & held.rights
    if wanted.level != held.level or not rights or (wanted.type != held.type and ANY not in {wanted.type, held.type}):
        return None
    type_ = held.type if wanted.type == ANY else wanted.type
    return Grant(wanted.level, type_, rights, tuple(dict.fromkeys((*wanted.filters, *held.filters))))


def _filters(query: str) -> tuple[tuple[str, str], ...] | None:
    """The names and values of a query; None when a part lacks either."""
    parts = [part.partition("=") for part in query.split("&")]
    filters = tuple((unquote(name), unquote(value)) for name, _, value in parts)
    return filters if all(name and value for name, value in filters) else None


def _quoted(text: str) -> str:
    return quote(text, safe=":/|,.$-_~*@!'();+")
