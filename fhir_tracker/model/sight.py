"""What a viewer may do with resources of each type: the scopes of a token and the policy of a role, both at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.model.grants import ANY, RIGHTS, Grant
from fhir_tracker.model.policy import ACTS, Policy

Filters = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Way:
    """One of the ways to a resource: it is of `patient`'s compartment, where that is not None, and found by all `filters`."""

    patient: str | None = None
    filters: Filters = ()

    @property
    def is_free(self) -> bool:
        """Whether it leads to every resource."""
        return self.patient is None and not self.filters

    def within(self, other: Way) -> bool:
        """Whether everything this leads to `other` leads to as well."""
        return other.patient in {None, self.patient} and set(other.filters) <= set(self.filters)


FREE = (Way(),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sight:
    """Compared by identity, so that it can be a key of what is kept; `sight_of` gives the same one for the same values.

    `sees_restricted`: restricted patients are seen as all others are, without breaking the glass.
    """

    acts: frozenset[str] = frozenset()
    programs: frozenset[str] | None = None
    locations: frozenset[str] | None = None
    sees_restricted: bool = True
    _ways: Mapping[str, Mapping[str, tuple[Way, ...]]] = field(repr=False)
    _hidden: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    _fixed: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def may(self, right: str, type_: str) -> bool:
        """Whether `right`, a letter of `cruds`, is given on some resources of a type."""
        return bool(self.ways(right, type_))

    def ways(self, right: str, type_: str) -> tuple[Way, ...]:
        """The ways to resources of a type by this right, of which one must lead there; FREE where all may be reached."""
        of_right = self._ways.get(right)
        if of_right is None or type_ not in resource_types():
            return ()
        found = of_right.get(type_)
        return of_right.get(ANY, ()) if found is None else found

    def named(self, right: str) -> Mapping[str, tuple[Way, ...]]:
        """Type -> ways, for the types that differ from the others; `*` for all others, absent where there is none."""
        return self._ways.get(right, {})

    def hidden(self, type_: str) -> frozenset[str]:
        """The elements that are not shown, such as `note` or `input.value[x]`."""
        return self._hidden.get(type_, frozenset()) | self._hidden.get(ANY, frozenset())

    def fixed(self, type_: str) -> frozenset[str]:
        """The elements that this viewer may not change."""
        return self._fixed.get(type_, frozenset()) | self._fixed.get(ANY, frozenset())

    @property
    def hides(self) -> bool:
        """Whether any element of any type is not shown."""
        return bool(self._hidden)

    @property
    def fixes(self) -> bool:
        """Whether any element of any type may not be changed."""
        return bool(self._fixed)

    def is_whole(self, right: str) -> bool:
        """Whether every resource of every type may be reached by a right, whatever it belongs to."""
        return right in self._whole

    def is_free(self, right: str, types: Sequence[str]) -> bool:
        """Whether every resource of these types may be reached by a right, restricted ones too."""
        is_open = self.sees_restricted and not self.is_bounded
        return is_open and all(self.ways(right, type_) == FREE for type_ in types)

    @cached_property
    def _whole(self) -> frozenset[str]:
        free = {right for right, ways in self._ways.items() if ways.get(ANY) == FREE and set(ways.values()) == {FREE}}
        return frozenset(free) if self.sees_restricted and not self.is_bounded else frozenset()

    @property
    def is_bounded(self) -> bool:
        """Whether only work of some programs or places may be seen."""
        return self.programs is not None or self.locations is not None


EVERYTHING = Sight(acts=frozenset(ACTS), _ways={right: {ANY: FREE} for right in RIGHTS})
BEHIND = Sight(acts=frozenset(), _ways={right: {ANY: FREE} for right in RIGHTS})
"""What the tracker has to see to carry out the act of somebody who may do it; nothing of it is shown."""
NOTHING = Sight(_ways={})


@lru_cache(maxsize=1024)
def sight_of(grants: tuple[Grant, ...] | None, policy: Policy | None, patient: str | None) -> Sight:
    """What both the scopes of a token and the policy of roles allow; None of either does not limit.

    `patient/` scopes reach the compartment of `patient`, and nothing where that is None; scopes without a policy give no
    acts. A viewer who is locked to a patient as a whole has `Viewer.patient` besides.
    """
    if grants is None and policy is None:
        return EVERYTHING
    given = _ways_of(grants, patient) if grants is not None else EVERYTHING._ways
    if policy is None:
        return Sight(_ways=given)
    return Sight(
        acts=policy.acts,
        programs=policy.programs,
        locations=policy.locations,
        sees_restricted=policy.restricted,
        _ways=_common(given, _ways_of(policy.grants, patient)),
        _hidden=policy.hidden,
        _fixed=policy.fixed,
    )


def lock_of(grants: tuple[Grant, ...], patient: str | None) -> str | None:
    """The patient that all of a token's scopes are confined to: None where some lead beyond, each by its own restriction."""
    return patient if all(one.level == "patient" for one in grants) else None


def _ways_of(grants: tuple[Grant, ...], patient: str | None) -> Mapping[str, Mapping[str, tuple[Way, ...]]]:
    """Right -> type -> ways; a type that is named has those of `*` too."""
    found: dict[str, dict[str, tuple[Way, ...]]] = {}
    for right in RIGHTS:
        by_type: dict[str, list[Way]] = {}
        for one in grants:
            if right in one.rights and (one.level != "patient" or patient):
                way = Way(patient if one.level == "patient" else None, one.filters)
                by_type.setdefault(one.type, []).append(way)
        any_type = by_type.get(ANY, [])
        found[right] = {type_: _widest([*ways, *any_type]) for type_, ways in by_type.items()}
    return found


def _common(
    ones: Mapping[str, Mapping[str, tuple[Way, ...]]], others: Mapping[str, Mapping[str, tuple[Way, ...]]]
) -> Mapping[str, Mapping[str, tuple[Way, ...]]]:
    """Where a way of each leads."""
    found: dict[str, dict[str, tuple[Way, ...]]] = {}
    for right in RIGHTS:
        mine, theirs = ones.get(right, {}), others.get(right, {})
        types = mine.keys() | theirs.keys()
        found[right] = {
            type_: _crossed(mine.get(type_, mine.get(ANY, ())), theirs.get(type_, theirs.get(ANY, ())))
            for type_ in types
        }
    return found


def _crossed(ones: tuple[Way, ...], others: tuple[Way, ...]) -> tuple[Way, ...]:
    both = [
        Way(one.patient or other.patient, tuple(dict.fromkeys((*one.filters, *other.filters))))
        for one in ones
        for other in others
        if None in {one.patient, other.patient} or one.patient == other.patient
    ]
    return _widest(both)


@cache
def _ordered(way: Way) -> tuple[str, Filters]:
    return way.patient or "", tuple(sorted(way.filters))


def _widest(ways: list[Way]) -> tuple[Way, ...]:
    """Those that lead where none of the others does, in a fixed order."""
    kept: list[Way] = []
    for one in sorted(dict.fromkeys(ways), key=lambda way: (len(way.filters), way.patient is not None, _ordered(way))):
        if not any(one.within(other) for other in kept):
            kept.append(one)
    return tuple(kept)
