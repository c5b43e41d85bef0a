"""What an interaction needs to be allowed: rights on types, or an act; whatever names nothing is refused to everybody.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from api.fhir.exchange import FhirRequest
from fhir_tracker.errors import Forbidden
from fhir_tracker.model.sight import EVERYTHING, Sight

HERE = "{type}"
"""In a right: the type of the address."""
MEMBER = "{member}"
"""In a right: the type of a search in a compartment, `*` for any."""
ANYTHING = "*"
"""In a right: some type or other; storage then shows what of each type may be seen."""
_WORDS = {"c": "create", "r": "read", "u": "change", "d": "delete", "s": "search"}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """All of `rights`, each letters of `cruds` (any of which will do) and a type, and one of `acts`.

    `is_open` is what strangers may ask for, `is_shared` what each of its parts is asked for again. With nothing at all,
    nobody is allowed.
    """

    rights: tuple[tuple[str, str], ...] = ()
    acts: frozenset[str] = frozenset()
    is_open: bool = False
    is_shared: bool = False

    @property
    def is_stated(self) -> bool:
        """Whether anything at all is said: an action must."""
        return bool(self.rights or self.acts or self.is_open or self.is_shared)


UNSTATED = Needs()
OPEN = Needs(is_open=True)
EACH_PART = Needs(is_shared=True)


def of_type(letters: str, type_: str = HERE, *more: tuple[str, str]) -> Needs:
    """The needs of one right, and of `more`."""
    return Needs(rights=((letters, type_), *more))


def check(request: FhirRequest, needs: Needs) -> None:
    """Raise Forbidden unless the caller of a request has what it needs."""
    sight = request.viewer.sight
    if sight is EVERYTHING and needs.is_stated:
        return
    if not needs.is_stated:
        raise Forbidden("Nobody is allowed to do this: it has no policy.")
    for letters, type_ in needs.rights:
        _check_right(sight, letters, _type_of(request, type_))
    if needs.acts and not needs.acts & sight.acts:
        raise Forbidden("Neither your role nor your scopes allow this.")


def require(sight: Sight, letter: str, type_: str) -> None:
    """Raise Forbidden unless a right on some resources of a type is given."""
    _check_right(sight, letter, type_)


def _check_right(sight: Sight, letters: str, type_: str) -> None:
    if not _is_given(sight, letters, type_):
        what = "anything" if type_ == ANYTHING else f"a {type_}"
        raise Forbidden(f"Neither your role nor your scopes let you {_WORDS[letters[0]]} {what} here.")


@lru_cache(maxsize=16_384)
def _is_given(sight: Sight, letters: str, type_: str) -> bool:
    if type_ == ANYTHING:
        return any(ways for letter in letters for ways in sight.named(letter).values())
    return any(sight.may(letter, type_) for letter in letters)


def _type_of(request: FhirRequest, type_: str) -> str:
    if type_ == HERE:
        return request.type
    return request.path[2] if type_ == MEMBER else type_
