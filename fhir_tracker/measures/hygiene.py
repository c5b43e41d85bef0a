"""Queue hygiene: open tasks that are not in order, one finding each, with what repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fhir_tracker import records
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.body import read_stored
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import resources, standing
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.standing import Found, Moment

PEOPLE = ("Practitioner", "PractitionerRole")
_MOST_VERSIONS = 50
_READER = worker_viewer("measures")
"""Staff are nobody's patient data: whether an owner is active counts for a view of one patient too."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One task in one of KINDS; `repair` says what can be done about it."""

    kind: str
    ref: str
    program: str
    role: str
    other: str
    repair: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`find` gives the tasks; `repair` is a sentence, with what the command `measures repair` does."""

    find: Callable[[Tx, Viewer, Moment], Sequence[Found]]
    repair: str


def inactive(tx: Tx, viewer: Viewer, moment: Moment) -> list[str]:
    """The owners of open work who were inactive or deleted at the moment; who is not known here is neither."""
    owners = [ref for ref in standing.owners(tx, viewer, moment) if ref.partition("/")[0] in PEOPLE]
    return [ref for ref in owners if not is_active(tx, moment, ref)]


def is_active(tx: Tx, moment: Moment, ref: str) -> bool:
    """Whether a person or role was neither inactive nor deleted at the moment, as far as is known here."""
    type_, _, id_ = ref.partition("/")
    stored = resources.find(tx, _READER, type_, id_)
    if stored is None:
        return True
    if stored.updated_at <= moment.at:
        return not stored.deleted and records.resource_of(stored).get("active") is not False
    versions = resources.history(tx, _READER, type_, id_, count=_MOST_VERSIONS)
    then = next((one for one in versions if one.updated_at <= moment.at), None)
    if then is None:
        return True
    return bool(then.body) and read_stored(then.body or "").get("active") is not False


def _owned_by_inactive(tx: Tx, viewer: Viewer, moment: Moment) -> Sequence[Found]:
    return standing.owned_by(tx, viewer, moment, inactive(tx, viewer, moment))


KINDS: Mapping[str, Kind] = {
    "no-owner": Kind(
        find=standing.without_owner,
        repair="Give it an owner (page or PUT of Task.owner); one without a role goes to the queue of its kind of work.",
    ),
    "no-due": Kind(
        find=standing.without_due,
        repair="Set Task.restriction.period.end; what its program says for this kind of work can be set again.",
    ),
    "endless-hold": Kind(
        find=standing.endless_holds, repair="Say until when it is on hold, or end the hold; a week from now can be set."
    ),
    "closed-plan": Kind(find=standing.left_open, repair="Close it, or open its plan again; it can be cancelled."),
    "inactive-owner": Kind(find=_owned_by_inactive, repair="Give it to somebody else; it can go back to its queue."),
    "duplicate": Kind(find=standing.doubles, repair="Close one of both; the later one can be cancelled."),
}


def findings(
    tx: Tx, viewer: Viewer, moment: Moment, program: str | None = None, kinds: Iterable[str] = tuple(KINDS)
) -> list[Finding]:
    """What is not in order at the moment; raises NotFound for a kind that there is not."""
    found = []
    for name in kinds:
        kind = kind_named(name)
        for one in kind.find(tx, viewer, moment):
            if program is None or one.program == program:
                found.append(
                    Finding(
                        kind=name, ref=one.ref, program=one.program, role=one.role, other=one.other, repair=kind.repair
                    )
                )
    return found


def kind_named(name: str) -> Kind:
    """The kind of that name; raises NotFound with the names there are."""
    if name not in KINDS:
        raise NotFound(f"There is no finding {name[:40]!r}; there are {', '.join(KINDS)}.")
    return KINDS[name]
