"""Two records of one patient that the EHR made one: a Task for the clinic admin, and open work moves when it is completed.

Nothing moves by itself: a merge at the EHR can be a mistake, and what was promised to one patient is then done to another.

https://hl7.org/fhir/R4/patient.html#links
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fhir_tracker import provenance, records, task_resources
from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.subject import id_of
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import WORK_SYSTEM
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import patients, resources, search, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

MERGED = "patient-merged"
GONE = "patient-gone"
MOST_RECORDS = 50
"""Of one patient, as far as merges are followed."""
_NOT_CONFIRMED = frozenset({"cancelled", "rejected", "failed", "entered-in-error"})
_MOVER = worker_viewer("merging")


def notice(tx: Tx, patient: Resource, author: Author) -> None:
    """Look at a mirrored Patient, in its form here, for links that say it replaces another or was replaced."""
    id_ = patient["id"]
    for link in objects_at(patient, "link"):
        other = id_of(text_at(link, "other", "reference"), "Patient")
        if other is None or other == id_:
            continue
        if link.get("type") == "replaced-by":
            tell(tx, id_, other, author)
        elif link.get("type") == "replaces":
            tell(tx, other, id_, author)


def tell(tx: Tx, old: str, new: str, author: Author) -> None:
    """Open the Task that says the EHR merged patient `old` into `new` (ids here); once, whatever became of it."""
    id_ = task_id(MERGED, f"{old}.{new}")
    if resources.find(tx, _MOVER, "Task", id_) is not None:
        return
    count = len(list(_open_work(tx, old)))
    reason = (
        f"The EHR merged {_named(tx, old)} into {_named(tx, new)}. Open work of the first: {count}. Completing this Task "
        "moves it to the second; cancelling it leaves everything as it is."
    )
    task = task_resources.admin_task(id_, MERGED, "Two patients were merged at the EHR", reason, author.at)
    _save(tx, task | {"for": _reference(old), "focus": _reference(new)}, author, reason)


def tell_gone(tx: Tx, old: str, author: Author) -> None:
    """Open the Task that says the EHR deleted a patient who has open work, unless a merge explains it."""
    waiting = list(_open_work(tx, old))
    explained = any(item.ref.startswith(f"Task/{MERGED}-") for item in work_items.of_patient(tx, _MOVER, old))
    id_ = task_id(GONE, old)
    if not waiting or explained or resources.find(tx, _MOVER, "Task", id_) is not None:
        return
    reason = (
        f"The EHR deleted {_named(tx, old)}, who has {len(waiting)} open pieces of work here. If the record was merged, "
        "move them to the other patient; else close them."
    )
    task = task_resources.admin_task(id_, GONE, "The EHR deleted a patient with open work", reason, author.at)
    _save(tx, task | {"for": _reference(old)}, author, reason)


def settle(tx: Tx, stored: Stored, task: Resource, author: Author) -> int:
    """When `task`, just saved, is a merge that was confirmed by completing it now, move the open work; how many pieces."""
    if not stored.id.startswith(f"{MERGED}-") or task.get("status") != "completed" or not _is_merge(task):
        return 0
    before = resources.find_version(tx, _MOVER, "Task", stored.id, stored.version - 1)
    old, new = (
        id_of(text_at(task, "for", "reference"), "Patient"),
        id_of(text_at(task, "focus", "reference"), "Patient"),
    )
    if before is None or '"completed"' in (before.body or "") or old is None or new is None:
        return 0
    acting = replace(author, viewer=replace(author.viewer, patient=None))
    why = Why(reason=f"Patient/{old} was merged into Patient/{new}, as {stored.ref} confirms")
    moved = [_moved(tx, item, new, acting, why) for item in _open_work(tx, old)]
    if moved:
        provenance.record(tx, moved, acting, why)
    return len(moved)


def records_of(tx: Tx, patient: str) -> tuple[str, ...]:
    """The id of a patient and those of the records that were merged into it, one after the other: by the links of both sides,
    and by the Tasks that told of a merge and were not refused.
    """
    found = {patient: None}
    waiting = [patient]
    while waiting and len(found) < MOST_RECORDS:
        into = waiting.pop()
        own = resources.find(tx, _MOVER, "Patient", into)
        replaced = _others(own.body, "replaces") if own is not None and not own.deleted else []
        linked = parse_query("Patient", [("link", f"Patient/{into}"), ("_count", str(MOST_RECORDS))], strict=True)
        matches = search.search(tx, _MOVER, linked).matches
        replaced += [one.id for one in matches if into in _others(one.body, "replaced-by")]
        told = work_items.about(tx, _MOVER, f"Patient/{into}")
        replaced += [
            item.patient for item in told if item.patient and _tells(item) and item.status not in _NOT_CONFIRMED
        ]
        fresh = [one for one in dict.fromkeys(replaced) if one not in found]
        found |= dict.fromkeys(fresh)
        waiting += fresh
    return tuple(found)


def _tells(item: WorkItem) -> bool:
    return item.ref.startswith(f"Task/{MERGED}-")


def _others(body: str, type_: str) -> list[str]:
    links = objects_at(read_stored(body), "link")
    named = (id_of(text_at(one, "other", "reference"), "Patient") for one in links if one.get("type") == type_)
    return [one for one in named if one]


def task_id(code: str, about: str) -> str:
    """The id of the one Task about a merge or a deletion."""
    return local_id(code, about, "Task")


def _is_merge(task: Resource) -> bool:
    codings = objects_at(task, "code", "coding")
    return any(one.get("system") == WORK_SYSTEM and one.get("code") == MERGED for one in codings)


def _open_work(tx: Tx, patient: str) -> Iterator[WorkItem]:
    """What is the tracker's own of a patient and open, without these Tasks themselves."""
    for item in work_items.of_patient(tx, _MOVER, patient):
        is_ours = _tells(item) or item.ref.startswith(f"Task/{GONE}-")
        if item.open and item.kind != "outside" and not is_ours:
            yield item


def _moved(tx: Tx, item: WorkItem, new: str, author: Author, why: Why) -> Stored:
    stored = resources.find(tx, author.viewer, *item.ref.split("/"))
    if stored is None or stored.deleted:
        raise AssertionError(f"{item.ref} has a work item and is not there")
    resource = records.resource_of(stored)
    if stored.type == "CarePlan":
        changed = with_text_in_step(resource, resource | {"subject": _reference(new)})
    else:
        changed = task_resources.stamped(resource, author.at) | {"for": _reference(new)}
        changed = task_resources.with_note(changed, why.reason or "", author)
    return records.save(tx, changed, author, if_match=stored.version, why=why)


def _named(tx: Tx, patient: str) -> str:
    summary = patients.find(tx, _MOVER, patient)
    return f"{summary.name} (Patient/{patient})" if summary and summary.name else f"Patient/{patient}"


def _reference(patient: str) -> Resource:
    return {"reference": f"Patient/{patient}"}


def _save(tx: Tx, task: Resource, author: Author, reason: str) -> None:
    stored = records.save(tx, task, author, why=Why(reason=reason))
    provenance.record(tx, [stored], author, Why(reason=reason), activity="CREATE")
