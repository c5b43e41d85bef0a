"""Writing through the API: the shape is checked, the owner of the type is asked, and work moves by its program's rules."""

from __future__ import annotations

from fhir_tracker import (
    consequences,
    definition_lifecycle,
    effects,
    filed_plans,
    integrity,
    outgoing,
    outreach,
    plan_moves,
    provenance,
    reach,
    records,
    task_writes,
    transitions,
)
from fhir_tracker.errors import MethodNotAllowed, NotFound, RuleBroken
from fhir_tracker.fhir.checks import require_valid
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_SYSTEM = worker_viewer("writes")
READ_ONLY = frozenset({"Provenance", "AuditEvent"})
PROVEN = frozenset(
    {
        "CarePlan",
        "CareTeam",
        "ChargeItem",
        "Communication",
        "EpisodeOfCare",
        "Flag",
        "Goal",
        "QuestionnaireResponse",
        "Task",
    }
)
"""The types that are the tracker's own: each of their writes has a Provenance."""


def create(
    tx: Tx,
    resource: Resource,
    author: Author,
    *,
    id_: str | None = None,
    tells_of_others: bool = False,
    patient: str | None = None,
    by_update: bool = False,
) -> Stored:
    """Store a new resource; a Task of a program gets what its template says and it left out.

    `id_` is a fresh id that is promised to it already; without one it is given one here. `tells_of_others` is for a
    caller's Provenance of what it writes in the same transaction. `patient` is
    whose it is where it does not say so itself. `by_update`: an update makes it that found nothing.
    """
    if not tells_of_others:
        _refuse_read_only(resource["resourceType"])
    reach.require_new(author, resource["resourceType"], by_update=by_update)
    resource = reach.accepted(tx, author, None, resource)
    require_valid(resource)
    if resource["resourceType"] == "Task":
        made = task_writes.create(tx, resource, author, id_ or records.fresh_id(author.at), fresh=True)
        consequences.draw(tx, effects.apply)
    else:
        heeded = _heeded(tx, resource, author)
        made = _proven(tx, records.create(tx, heeded, author, id_=id_, patient=patient), author, "CREATE")
    right = reach.right_to_make(author, by_update=by_update)
    reach.require_still(tx, author, right, made.ref)
    reach.require_known(tx, author, right, None, made)
    return made


def update(
    tx: Tx,
    type_: str,
    id_: str,
    resource: Resource,
    author: Author,
    *,
    if_match: int | None = None,
) -> tuple[Stored, bool]:
    """Store the next version, or the first under a given id; True when it was created.

    What was found here is what is built on: raises VersionConflict when another writer came in between.
    """
    _refuse_read_only(type_)
    before = _reached(tx, type_, id_, author, "u")
    is_there = before is not None and not before.deleted
    if not is_there:
        chosen = "" if reach.is_promised(tx, f"{type_}/{id_}") else id_
        reach.require_new(author, type_, chosen, by_update=True)
    known = records.resource_of(before) if before is not None and is_there else None
    resource = reach.accepted(tx, author, known, resource)
    require_valid(resource)
    saved, is_new = _updated(tx, before, type_, id_, resource, author, if_match)
    right = reach.right_to_make(author, by_update=True) if is_new else "u"
    reach.require_still(tx, author, right, saved.ref)
    reach.require_known(tx, author, right, before, saved)
    return saved, is_new


def _updated(
    tx: Tx, before: Stored | None, type_: str, id_: str, resource: Resource, author: Author, if_match: int | None
) -> tuple[Stored, bool]:
    records.check_match(before, if_match)
    if before is not None and before.connection and not before.deleted:
        return _update_mirrored(tx, before, resource | {"id": id_}, author), False
    _refuse_mirrored(before)
    if before is None or before.deleted:
        if type_ == "Task":
            made = task_writes.create(tx, resource, author, id_)
            consequences.draw(tx, effects.apply)
            return made, True
        created = records.save(tx, _heeded(tx, resource | {"id": id_}, author), author, if_match=records.ABSENT)
        return _proven(tx, created, author, "CREATE"), True
    if type_ == "Task" or (type_ == "CarePlan" and plan_moves.is_plan(tx, before.ref)):
        change = task_writes.update if type_ == "Task" else plan_moves.update
        changed = change(tx, before.ref, resource | {"id": id_}, author, before.version)
        consequences.draw(tx, effects.apply)
        return changed, False
    if type_ in definition_lifecycle.PUBLISHED:
        definition_lifecycle.check_change(records.resource_of(before), resource | {"id": id_})
    whole = filed_plans.pinned(tx, resource) if type_ == "CarePlan" else resource
    changed = records.save(tx, whole | {"id": id_}, author, if_match=before.version)
    return _proven(tx, changed, author, "UPDATE"), False


def delete(
    tx: Tx, type_: str, id_: str, author: Author, *, if_match: int | None = None, only_unreferred: bool = False
) -> Stored | None:
    """Delete; None when there was nothing to delete. What an EHR owns is deleted there.

    `only_unreferred`: raises Conflict while current resources refer to it; see `integrity.refusals`.
    """
    _refuse_read_only(type_)
    before = _reached(tx, type_, id_, author, "d")
    _refuse_mirrored(before)
    records.check_match(before, if_match)
    if before is not None and not before.deleted and type_ in definition_lifecycle.PUBLISHED:
        definition_lifecycle.check_delete(records.resource_of(before))
    if only_unreferred and before is not None and not before.deleted:
        integrity.refuse_referred(tx, author.limits, before.ref)
    removed = records.remove(tx, type_, id_, author, if_match=if_match)
    if removed is None:
        return None
    if type_ == "Task":
        transitions.resolve_escalations(tx, removed.ref, "The work was deleted", author)
    return _proven(tx, removed, author, "DELETE")


def _reached(tx: Tx, type_: str, id_: str, author: Author, right: str) -> Stored | None:
    """What is stored under an id, if the writer reaches it by a right; raises NotFound or Forbidden where not.

    To who sees a part only, nothing there and nothing reached are the same.
    """
    if not reach.is_limited(author):
        return resources.find(tx, author.viewer, type_, id_)
    before = resources.find(tx, _SYSTEM, type_, id_)
    if before is not None:
        reach.require_stored(tx, author, right, before)
    elif right == "d" and not reach.is_free(author.limits, right, type_):
        raise NotFound(f"There is no {type_} with this id.")
    return before


def _heeded(tx: Tx, resource: Resource, author: Author) -> Resource:
    """What is written, as the work it belongs to has it: an attempt heeds the outreach policy, a plan its program's version."""
    if resource["resourceType"] == "CarePlan":
        return filed_plans.pinned(tx, resource)
    return outreach.heeded(tx, resource, author) if resource["resourceType"] == "Communication" else resource


def _proven(tx: Tx, stored: Stored, author: Author, activity: str) -> Stored:
    if stored.type in PROVEN:
        provenance.record(tx, [stored], author, activity=activity)
    return stored


def _refuse_read_only(type_: str) -> None:
    if type_ in READ_ONLY:
        raise MethodNotAllowed(f"{type_} is written by the tracker itself and by nobody else.")


def _refuse_mirrored(before: Stored | None) -> None:
    if before is not None and before.connection:
        raise RuleBroken(f"{before.type}/{before.id} is the copy of an EHR's: change it there.")


def _update_mirrored(tx: Tx, before: Stored, resource: Resource, author: Author) -> Stored:
    """A change to an EHR's resource, which is written back to it."""
    outgoing.check_mirrored(tx, before, resource, records.resource_of(before), author.at)
    kept = resource | {"meta": records.resource_of(before).get("meta", {})}
    return _proven(tx, records.save(tx, kept, author, if_match=before.version), author, "UPDATE")
