"""The rows that one resource puts into the search index, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class TokenRow(NamedTuple):
    """A code with the system it belongs to, None where it has none. `owner:identifier` is a Reference.identifier.

    `identifier:of-type` is an Identifier's value, with the system and code of its type, a bar between, as the system.
    """

    param: str
    system: str | None
    code: str


class ReferenceRow(NamedTuple):
    """A reference: `type` and `id` where they are known, else `url` (absolute, canonical, urn or #fragment).

    An absolute reference has all three; type and id are then those of its last segments.
    """

    param: str
    type: str | None
    id: str | None
    url: str | None


class UriRow(NamedTuple):
    """A uri, url or canonical as it stands."""

    param: str
    uri: str


class DateRow(NamedTuple):
    """The half-open [low, high) in milliseconds since 1970 UTC; OPEN_START and OPEN_END of `dates` mean unbounded."""

    param: str
    low: int
    high: int


class StringRow(NamedTuple):
    """A text, folded for comparison and as it stands."""

    param: str
    folded: str
    text: str


class NumberRow(NamedTuple):
    """The range of a number by its digits."""

    param: str
    low: float
    high: float


class QuantityRow(NamedTuple):
    """The range of a value by its digits, and its unit as system and code and as text."""

    param: str
    system: str | None
    code: str | None
    unit: str | None
    low: float
    high: float


Part = TokenRow | ReferenceRow | UriRow | DateRow | StringRow | NumberRow | QuantityRow


class CompositeRow(NamedTuple):
    """One combination of the parts of a composite parameter, in its order; the parts have an empty `param`."""

    param: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class SearchValues:
    """All rows of one resource, without repetitions."""

    tokens: tuple[TokenRow, ...] = ()
    references: tuple[ReferenceRow, ...] = ()
    uris: tuple[UriRow, ...] = ()
    dates: tuple[DateRow, ...] = ()
    strings: tuple[StringRow, ...] = ()
    numbers: tuple[NumberRow, ...] = ()
    quantities: tuple[QuantityRow, ...] = ()
    composites: tuple[CompositeRow, ...] = ()

    @property
    def present(self) -> frozenset[str]:
        """The parameters with a value, for `:missing`."""
        groups = (self.tokens, self.references, self.uris, self.dates, self.strings, self.numbers, self.quantities)
        names = {row.param.partition(":")[0] for group in groups for row in group}
        return frozenset(names | {row.param for row in self.composites})
