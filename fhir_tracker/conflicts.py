"""What waits in the outbox for a person: fields changed on both sides, writes refused for good; shown, decided, tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_tracker import programs, provenance, records, task_resources, writes
from fhir_tracker.errors import Incorrect, NotFound, RuleBroken
from fhir_tracker.fhir.body import MAX_BYTES, read_resource, write_json
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.identity import is_legal_id, local_id
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.merging import Side, value
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import outbox, resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Outgoing

CODE = "write-back-conflict"
PAGE = 500
QUESTIONS = frozenset({"question", "answer"})
"""What a row's detail holds of a create whose outcome only a person can tell."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field in conflict: the JSON text on each side ("" when absent), all in our words; `seen` stands for theirs."""

    field: str
    base: str
    theirs: str
    ours: str
    seen: str


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A third value for a field, which both sides get; None takes the field out."""

    value: Json


Choice = Side | Edited
_BOTH = "Changed here and in"


def waiting(tx: Tx, viewer: Viewer, connection: str | None = None, states: Sequence[str] = ()) -> list[Outgoing]:
    """Everything that is not done, or in one of `states`, oldest first."""
    chosen = states or outbox.STATES[:-1]
    found: list[Outgoing] = []
    while page := outbox.listed(
        tx, viewer, connection=connection, states=chosen, after=found[-1].id if found else 0, limit=PAGE
    ):
        found += page
    return found


def get(tx: Tx, viewer: Viewer, id_: int) -> Outgoing:
    """One row, done or not; NotFound when there is none."""
    found = outbox.find(tx, viewer, id_)
    if found is None:
        raise NotFound(f"There is nothing {id_} in the outbox.")
    return found


def retry(tx: Tx, row: Outgoing, author: Author) -> None:
    """Let a row that is not done be tried at once, as though for the first time."""
    if row.state == "done":
        raise RuleBroken("It is done: there is nothing to try again.")
    outbox.change(tx, row, state="waiting", due_at=author.at, attempts=0, reason=None, updated_at=author.at)


def differences(row: Outgoing) -> tuple[Difference, ...]:
    """The fields in conflict; none while a question is asked."""
    return () if question(row) else tuple(Difference(**one) for one in row.detail.get("conflicts", ()))


def difference(field: str, base: Resource | None, theirs: Resource, ours: Resource, seen: str) -> Difference:
    """One field of the three texts, all in our words."""
    texts = [write_json(one[field]) if one and field in one else "" for one in (base, theirs, ours)]
    return Difference(field=field, base=texts[0], theirs=texts[1], ours=texts[2], seen=seen)


def digest(resource: Resource, field: str) -> str:
    """What stands for a field's value: a decision counts only for the value it was made upon."""
    return hashlib.sha256(write_json(list(value(resource, field))).encode()).hexdigest()[:32]


def decided(row: Outgoing, theirs: Resource) -> dict[str, Side]:
    """What a person has decided of the fields, as far as `theirs` is still what that person saw."""
    told: Mapping[str, Mapping[str, Side]] = row.detail.get("decided", {})
    return {field: one["side"] for field, one in told.items() if one["seen"] == digest(theirs, field)}


def mark(tx: Tx, row: Outgoing, found: Sequence[Difference], author: Author) -> None:
    """The row waits for a person: its fields are kept, and an open Task for the clinic admin says so."""
    names = ", ".join(one.field for one in found)
    reason = f"{_BOTH} {row.connection}: {names}."
    told = [vars(one) for one in found]
    kept = {name: one for name, one in row.detail.items() if name not in QUESTIONS}
    if outbox.change(
        tx, row, state="conflict", reason=reason, detail={**kept, "conflicts": told}, updated_at=author.at
    ):
        _open_task(tx, row, reason, author)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whether what we sent is there as a `type`: `sent` is how it begins, `found` what looks like it, id there -> text."""

    type: str
    sent: str
    found: Mapping[str, str]


def question(row: Outgoing) -> Question | None:
    """What a person is asked about a create whose outcome cannot be told."""
    told = row.detail.get("question") if row.state == "conflict" else None
    if told is None:
        return None
    return Question(type=told["type"], sent=told["sent"], found={one["id"]: one["text"] for one in told["found"]})


def said(row: Outgoing) -> str:
    """What the EHR itself gave as the reason for refusing; it may name a patient."""
    return str(row.detail.get("said", "")) if row.state == "dead" else ""


def ask(tx: Tx, row: Outgoing, told: Mapping[str, Json], author: Author) -> None:
    """The row waits for a person to say whether an earlier create was done, and an open Task says so."""
    reason = (
        f"A {told['type']} was sent to {row.connection} and not answered, and it is not found there by our identifier. "
        "Look whether it is there."
    )
    detail = {**{name: one for name, one in row.detail.items() if name not in QUESTIONS}, "question": told}
    if outbox.change(tx, row, state="conflict", reason=reason, detail=detail, updated_at=author.at):
        _open_task(tx, row, reason, author)


def answer(tx: Tx, row: Outgoing, there: str | None, author: Author) -> None:
    """Say that the earlier create is `there` (an id at the EHR), or None: it was not done, and is to be sent again.

    Raises RuleBroken when that is not what is asked, Incorrect for what is no id.
    """
    if question(row) is None or row.sent_at is None:
        raise RuleBroken("Nothing is asked about where it is.")
    if there is not None and not is_legal_id(there):
        raise Incorrect(f"{there!r} is no id of a FHIR resource.")
    detail = {name: one for name, one in row.detail.items() if name not in QUESTIONS}
    detail["answer"] = {"sent": instant(row.sent_at), "there": there}
    outbox.note(tx, row, state="waiting", due_at=author.at, attempts=0, detail=detail)


def answer_of(row: Outgoing) -> tuple[bool, str | None]:
    """Whether a person has said what became of the create that was sent last, and as what it is there."""
    told = row.detail.get("answer")
    if told is None or row.sent_at is None or told["sent"] != instant(row.sent_at):
        return False, None
    return True, told["there"]


def settle(tx: Tx, row: Outgoing, author: Author, reason: str) -> None:
    """Complete the admin's Task of a row that waits no more, if there is one."""
    id_ = task_id(row)
    item = work_items.find(tx, author.viewer, f"Task/{id_}")
    if item is None or not item.open:
        return
    stored = resources.find(tx, author.viewer, "Task", id_)
    if stored is not None and not stored.deleted:
        done = task_resources.with_status(records.resource_of(stored), None, "completed", author.at)
        _save(tx, done, author, reason)


def resolve(tx: Tx, row: Outgoing, choices: Mapping[str, Choice], author: Author) -> None:
    """Decide each field in conflict; what comes of it is written by the next round, and checked against theirs again.

    Raises RuleBroken when the row is not in conflict, a field is left open or named that is not in conflict.
    """
    found = {one.field: one for one in differences(row)}
    if row.state != "conflict" or not found:
        raise RuleBroken("It is not in conflict: there is nothing to decide.")
    if odd := sorted(choices.keys() ^ found.keys()):
        raise RuleBroken(f"Decide each field in conflict and no other: {', '.join(odd)}.")
    if choices.get("status") == "theirs" and row.type == "Task":
        _check_meant(tx, row, found["status"].theirs, author)
    edits = {field: one.value for field, one in choices.items() if isinstance(one, Edited)}
    if edits:
        _edit(tx, row, edits, author)
    told = {
        field: {"side": "ours" if isinstance(one, Edited) else one, "seen": found[field].seen}
        for field, one in choices.items()
    }
    outbox.note(tx, row, state="waiting", due_at=author.at, attempts=0, detail={**row.detail, "decided": told})


def task_id(row: Outgoing) -> str:
    """The id of the one Task that says a row is in conflict."""
    return local_id(CODE, str(row.id), "Task")


def with_their_status(tx: Tx, resource: Resource, theirs: Resource, author: Author) -> Resource | None:
    """`resource` (a Task) in the EHR's status; None when its program has no or several statuses that could be meant."""
    status = str(theirs.get("status", ""))
    program = programs.of_resource(tx, resource)
    if program is None:
        return resource | {"status": status}
    meant = [one for one in program.statuses if one.fhir == status]
    if resource.get("status") == status:
        return resource
    return task_resources.with_status(resource, program, meant[0].code, author.at) if len(meant) == 1 else None


def _check_meant(tx: Tx, row: Outgoing, theirs: str, author: Author) -> None:
    """RuleBroken, with what there is to choose from, when the EHR's status can mean several of the program's or none."""
    stored = resources.find(tx, author.viewer, row.type, row.local_id)
    task = records.resource_of(stored) if stored is not None and not stored.deleted else None
    status = _read(theirs)
    if task is None or with_their_status(tx, task, {"status": status}, author) is not None:
        return
    program = programs.of_resource(tx, task)
    codes = [one.code for one in program.statuses if one.fhir == status] if program else []
    known = ", ".join(codes or [one.code for one in program.statuses] if program else [])
    how = "can mean" if codes else "means none of"
    raise RuleBroken(f"{status} {how} {known}: give one of these as the value for both.", expression="status")


def _read(text: str) -> Json:
    return read_resource(b'{"resourceType": "Basic", "value": %s}' % text.encode(), max_bytes=MAX_BYTES).get("value")


def _as_meant(tx: Tx, task: Resource, edits: Mapping[str, Json], author: Author) -> Resource:
    """`task` in the status of its program that is given for `status`, if one is."""
    program = programs.of_resource(tx, task) if task["resourceType"] == "Task" else None
    own = program.status(str(edits.get("status"))) if program else None
    return task_resources.with_status(task, program, own.code, author.at) if program and own else task


def _edit(tx: Tx, row: Outgoing, edits: Mapping[str, Json], author: Author) -> None:
    stored = resources.find(tx, author.viewer, row.type, row.local_id)
    if stored is None or stored.deleted:
        raise NotFound(f"{row.ref} is not here any more.")
    meant = _as_meant(tx, held := records.resource_of(stored), edits, author)
    given = {name: one for name, one in edits.items() if name != "status"} if meant is not held else edits
    fresh = {name: one for name, one in meant.items() if given.get(name, one) is not None}
    fresh |= {name: one for name, one in given.items() if one is not None}
    if not isinstance(fresh.get("resourceType"), str):
        raise Incorrect("A resource keeps its type.")
    writes.update(tx, row.type, row.local_id, fresh, author, if_match=stored.version)


def _open_task(tx: Tx, row: Outgoing, reason: str, author: Author) -> None:
    id_ = task_id(row)
    item = work_items.find(tx, author.viewer, f"Task/{id_}")
    if item is not None and item.open:
        return
    title = f"{row.type} changed on both sides" if reason.startswith(_BOTH) else f"Is the {row.type} at the EHR?"
    told = f"{reason} Decide: the page Outbox, or fhir-tracker outbox show {row.id}."
    task = task_resources.admin_task(id_, CODE, title, told, author.at) | {"focus": {"reference": row.ref}}
    about = {"for": {"reference": f"Patient/{row.patient}"}} if row.patient else {}
    _save(tx, task | about, author, reason)


def _save(tx: Tx, task: Resource, author: Author, reason: str) -> None:
    stored = records.save(tx, task, author, why=Why(reason=reason))
    provenance.record(tx, [stored], author, Why(reason=reason))
