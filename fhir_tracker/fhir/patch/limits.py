"""How much one patch may do, and how its refusals name the operation."""

from __future__ import annotations

from fhir_tracker.errors import Incorrect, Issue, RuleBroken, TooLarge
from fhir_tracker.fhir.body import MAX_DEPTH
from fhir_tracker.fhir.json_types import Json

MOST_OPERATIONS = 500
MOST_COPIED = 5_000_000
"""Characters and values that the operations of one patch may add to a resource in all."""


MOST_ASKED = 20_000_000
"""Characters and values that the filters of one patch may look through in all."""


class Meter:
    """What the operations of one patch added to and asked of a resource so far."""

    def __init__(self, resource: Json) -> None:
        self._left = MOST_COPIED
        self._asks = MOST_ASKED
        self._size = _size(resource, MAX_DEPTH)

    def add(self, value: Json, depth: int) -> None:
        """Count a value put at `depth` levels below the top; raises TooLarge over a limit."""
        self._left -= _size(value, MAX_DEPTH - depth)
        if self._left < 0:
            raise TooLarge("The patch adds more than is accepted.")

    def ask(self) -> None:
        """Count one filter over the whole resource; raises TooLarge over the limit."""
        self._asks -= self._size
        if self._asks < 0:
            raise TooLarge("The patch has more filters than are accepted on a resource of this size.")


def failed(number: int, kind: str, why: str, *, code: str = "processing") -> RuleBroken:
    """The refusal of the operation `number` (counted from 0) that cannot be done on this resource."""
    message = f"Operation {number} ({kind}) cannot be done: {why}. Nothing was changed."
    return RuleBroken(message, issues=(Issue(message=message, code=code),))


def malformed(number: int, why: str) -> Incorrect:
    """The refusal of an operation that is none."""
    return Incorrect(f"Operation {number} of the patch {why}.")


def check_count(count: int) -> None:
    """Raise TooLarge for more operations than one patch may have."""
    if count > MOST_OPERATIONS:
        raise TooLarge(f"The patch has {count} operations; the limit is {MOST_OPERATIONS}.")


def _size(value: Json, levels: int) -> int:
    if levels < 0:
        raise TooLarge(f"The patch nests values deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        return 1 + sum(len(name) + _size(one, levels - 1) for name, one in value.items())
    if isinstance(value, list):
        return 1 + sum(_size(one, levels - 1) for one in value)
    return 1 + len(value) if isinstance(value, str) else 1
