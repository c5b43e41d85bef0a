"""Codes of an EHR that no code table knows: a Task for the clinic admin names them, one open Task for each table.

The resource is here all the same, its codes as they were sent; what such a code means is never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from fhir_tracker import provenance, records, task_resources
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import UNMAPPED_CODE
from fhir_tracker.storage import resources, settings, work_items
from fhir_tracker.storage.database import Tx

CODE = "unmapped-code"
MOST = 500
"""How many codes of one table and EHR are named in all; who gets more needs a table, not another Task."""
_SHOWN = 40
_LONGEST = 120
_TYPES = frozenset({"Appointment", "Communication", "Task"})
_TELLER = worker_viewer("codes")


def notice(tx: Tx, resource: Resource, connection: str, author: Author) -> None:
    """Look at a mirrored resource, in its form here, for codes that its mapping marked as unmapped."""
    if resource["resourceType"] not in _TYPES:
        return
    found = list(dict.fromkeys(unmapped_in(resource)))
    for table in dict.fromkeys(table for table, _ in found):
        _tell(tx, connection, table, [code for kind, code in found if kind == table], author)


def unmapped_in(resource: Resource) -> Iterator[tuple[str, str]]:
    """(table, `system|code`) of each code that was marked."""
    for member in resource.values():
        for concept in member if isinstance(member, list) else (member,):
            for coding in objects_at(concept, "coding") if isinstance(concept, dict) else ():
                yield from ((str(mark.get("valueCode")), _named(coding)) for mark in _marks(coding))


def task_id(connection: str, table: str, number: int) -> str:
    """The id of the `number`th Task about a table of one EHR."""
    return local_id(CODE, f"{connection}.{table}.{number}", "Task")


def _tell(tx: Tx, connection: str, table: str, codes: list[str], author: Author) -> None:
    """Name those that were not named yet, in the Task that is open or in a new one."""
    state = f"{CODE}:{connection}:{table}"
    told: dict[str, int] = json.loads(settings.get(tx, state) or "{}")
    fresh = [code for code in codes if code not in told][: max(MOST - len(told), 0)]
    if not fresh:
        return
    number = max(told.values(), default=0)
    item = work_items.find(tx, _TELLER, f"Task/{task_id(connection, table, number)}") if number else None
    if item is None or not item.open:
        number += 1
    told |= dict.fromkeys(fresh, number)
    settings.put(tx, state, json.dumps(told))
    _save(tx, connection, table, number, [code for code, at in told.items() if at == number], author)


def _save(tx: Tx, connection: str, table: str, number: int, codes: list[str], author: Author) -> None:
    id_ = task_id(connection, table, number)
    more = f", and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    reason = (
        f"{connection} sends codes that the table {table} does not know: {', '.join(codes[:_SHOWN])}{more}. Add them to the "
        "file that the connection's option --codes names; complete this when they are there, or when they do not matter."
    )
    stored = resources.find(tx, _TELLER, "Task", id_)
    if stored is None or stored.deleted:
        task = task_resources.admin_task(
            id_, CODE, f"Codes of {connection} that nobody has explained", reason, author.at
        )
        task |= {"priority": "routine"}
    else:
        task = task_resources.stamped(records.resource_of(stored), author.at) | {"reasonCode": {"text": reason}}
    why = Why(reason=reason)
    saved = records.save(tx, task, author, why=why)
    provenance.record(tx, [saved], author, why, activity="CREATE" if saved.version == 1 else "UPDATE")


def _marks(coding: Json) -> list[Resource]:
    return [one for one in objects_at(coding, "extension") if one.get("url") == UNMAPPED_CODE]


def _named(coding: Resource) -> str:
    text = f"{coding.get('system') or ''}|{coding.get('code')}"
    return "".join(one if one.isprintable() else "?" for one in text)[:_LONGEST]
