"""The tables of work: items, transitions, firings, events, patients and enrolments."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, UniqueConstraint

from fhir_tracker.storage.tables import metadata
from fhir_tracker.storage.types import Key, Mapped, Moment, Texts

work_item = Table(
    "work_item",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("ref", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("patient", Text),
    Column("plan", Text),
    Column("program", Text),
    Column("program_version", Integer),
    Column("code", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("fhir_status", Text, nullable=False),
    Column("clock", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("role", Text),
    Column("owner", Text),
    Column("due_at", Moment),
    Column("priority", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("status_since", Moment, nullable=False),
    Column("assigned_since", Moment),
    Column("cycle", Integer, nullable=False),
    Column("hold_until", Moment),
    Column("hold_event", Text),
    Column("escalation_level", Integer, nullable=False),
    Column("escalation_reason", Text),
    Column("attempts", Integer, nullable=False),
    Column("last_attempt_at", Moment),
    Column("last_attempt_outcome", Text),
    Column("focus", Text),
    Column("next_action_at", Moment),
    Column("site", Text),
    Column("starts_at", Moment),
    Column("stands_since", Moment),
    Column("due_order", Moment, nullable=False),
    Column("folded_title", Text, nullable=False),
    Column("claim_token", Text),
    Column("claimed_until", Moment),
    Index(None, "patient"),
)
for _seldom in (work_item.c.plan, work_item.c.focus):
    Index(None, _seldom, sqlite_where=_seldom.is_not(None), postgresql_where=_seldom.is_not(None))


def _open_index(name: str, *columns: str) -> None:
    is_open = work_item.c.open
    Index(name, *(work_item.c[one] for one in columns), sqlite_where=is_open, postgresql_where=is_open)


_is_awaited = work_item.c.open & work_item.c.next_action_at.is_not(None)
Index(
    "ix_work_item_next",
    work_item.c.next_action_at,
    work_item.c.k,
    sqlite_where=_is_awaited,
    postgresql_where=_is_awaited,
)
_open_index("ix_work_item_due", "due_order", "k")
_open_index("ix_work_item_role", "role", "due_order", "k")
_open_index("ix_work_item_owner", "owner", "due_order", "k")
_open_index("ix_work_item_status", "program", "status", "status_since", "kind", "open")
_is_dated = work_item.c.open & work_item.c.due_at.is_not(None)
Index(
    "ix_work_item_late",
    *(work_item.c[name] for name in ("due_at", "clock", "kind", "owner", "role", "program", "open")),
    sqlite_where=_is_dated,
    postgresql_where=_is_dated,
)

for _bound in (work_item.c.program, work_item.c.site):
    Index(None, _bound, work_item.c.patient, sqlite_where=_bound.is_not(None), postgresql_where=_bound.is_not(None))

transition = Table(
    "transition",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("item", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("recorded_at", Moment, nullable=False),
    Column("effective_at", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text),
    Column("note", Text),
    Column("rule", Text),
    Column("cycle", Integer, nullable=False),
    Column("patient", Text),
    Column("reason_code", Text),
    Index(None, "item", "k"),
    Index(None, "patient", "k"),
)

firing = Table(
    "firing",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("item", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("cycle", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("fired_at", Moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("task", Text),
    Column("to_role", Text),
    Column("state", Text, nullable=False),
    Column("program", Text),
    Column("program_version", Integer),
    Column("reason", Text, nullable=False),
    Column("patient", Text),
    UniqueConstraint("item", "rule", "cycle", "level"),
    Index(None, "task"),
    Index(None, "kind", "fired_at"),
)

event = Table(
    "event",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("patient", Text, nullable=False),
    Column("codes", Texts, nullable=False),
    Column("start", Moment),
    Column("end", Moment),
    Column("seen_at", Moment, nullable=False),
    Column("about", Texts, nullable=False),
    Column("detail", Mapped, nullable=False),
    Index(None, "patient", "type"),
)

patient_summary = Table(
    "patient_summary",
    metadata,
    Column("patient", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("birth_date", Text),
    Column("gender", Text),
    Column("mrn", Text),
    Column("phone", Text),
    Column("language", Text),
    Column("deceased", Boolean, nullable=False),
    Column("connection", Text),
    Column("flags", Texts, nullable=False),
    Column("zone", Text),
    Column("folded", Text, nullable=False),
)

enrolment = Table(
    "enrolment",
    metadata,
    Column("program", Text, primary_key=True),
    Column("patient", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("plan", Text),
    Column("at", Moment, nullable=False),
    Index(None, "patient"),
    Index(None, "plan"),
)

notification = Table(
    "notification",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("to_role", Text),
    Column("to_person", Text),
    Column("channel", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("patient", Text),
    Column("text", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("read_at", Moment),
    Column("state", Text, nullable=False),
    Index(None, "to_role", "id"),
    Index(None, "to_person", "id"),
)

_is_untold = notification.c.state == "waiting"
Index(
    "ix_notification_untold",
    notification.c.channel,
    notification.c.id,
    sqlite_where=_is_untold,
    postgresql_where=_is_untold,
)

rule_heartbeat = Table(
    "rule_heartbeat",
    metadata,
    Column("program", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("last_evaluated", Moment, nullable=False),
    Column("matched", BigInteger, nullable=False),
    Column("fired", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
)

poisoned_item = Table(
    "poisoned_item",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("program", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),
)
