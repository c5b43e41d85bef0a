"""What an earlier program stored is found by what a later one can search by, once the database is brought up to date."""

from __future__ import annotations

from sqlalchemy import delete, select, text

from fhir_tracker.storage import schema
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.hashes import presence_key, token_key
from fhir_tracker.storage.running_tables import AUDIT_TEXTS
from fhir_tracker.storage.tables import ix, ixn, ixs, resource
from tests.storage.samples import found, put_all, task

TYPED = {"type": {"coding": [{"system": "http://v2", "code": "MR"}]}, "value": "1"}
SEARCHES = (
    ("ValueSet", "url:below=http://a"),
    ("Patient", "identifier:of-type=http://v2|MR|1"),
    ("MolecularSequence", "chromosome-window-coordinate=1$ge5$le9"),
)


LATER = (
    "signing_key",
    "inbox",
    "remote_subscription",
    "roster",
    "absence",
    "budget",
    "outbox",
    "dispatch",
    "staff_person",
    "staff_role",
    "staff_absence",
    "staff_turn",
    "poisoned_item",
    "wants_owner",
    "spell",
    "attempt_log",
    "figure_hour",
    "stale_hour",
    "issuer",
    "account",
    "launch_pending",
    "launch_session",
    "client",
    "access_token",
    "seen_jti",
    "audit_block",
    "audit_patient",
    "launch_ticket",
    "launch_tab",
    "preference",
    "local_login",
    "login_guess",
    "role_file",
    "restricted_patient",
    "broken_glass",
    "restricted_record",
)
LATER_COLUMNS = (
    ("transition", "reason_code"),
    ("work_item", "site"),
    ("work_item", "starts_at"),
    ("work_item", "stands_since"),
    ("patient_summary", "zone"),
    *(("program", one) for one in ("digest", "reason", "approved_by", "approved_at", "effective_at", "active_from")),
    *(("audit", one) for one in (*AUDIT_TEXTS, "version", "patients", "query", "mac")),
    *(("program", one) for one in ("retired_at", "rolls_back", "former", "renamed")),
    ("quarantine", "patient"),
    ("quarantine", "restricted"),
)
LATER_TRIGGERS = (
    *(("program", one) for one in ("program_stays", "program_is_kept", "program_names_stay")),
    *(("audit", one) for one in ("audit_stays", "audit_is_kept", "audit_is_not_emptied")),
)
LATER_INDEXES = (
    "ix_notification_untold",
    "ix_work_item_late",
    "ix_work_item_program_patient",
    "ix_work_item_site_patient",
)


def at_revision(tx: Tx, revision: str) -> None:
    """Make the database one of an earlier revision, before the tables and columns that came after 0005."""
    for table in LATER:
        tx.connection.execute(text(f"DROP TABLE {table}"))
    for table, trigger in LATER_TRIGGERS:
        tx.connection.execute(
            text(f"DROP TRIGGER IF EXISTS {trigger}{f' ON {table}' if tx.dialect == 'postgresql' else ''}")
        )
    for index in LATER_INDEXES:
        tx.connection.execute(text(f"DROP INDEX {index}"))
    for table, column in LATER_COLUMNS:
        tx.connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    tx.connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))


def as_before(database: Database) -> None:
    """Take away what the earlier program had no rows for."""
    with database.begin() as tx:
        tx.execute(delete(ixs))
        tx.execute(delete(ixn))
        tx.execute(delete(ix).where(ix.c.h == token_key("Patient", "identifier:of-type", "http://v2|MR", "1")))
        tx.execute(resource.update().where(resource.c.id == "broken").values(body="{2}"))
        at_revision(tx, "0002")


def test_uris_typed_identifiers_and_pairs_of_numbers_of_before_are_found_after_the_upgrade(database: Database) -> None:
    sets = [{"resourceType": "ValueSet", "id": f"v{n}", "status": "active", "url": f"http://a/{n}"} for n in range(600)]
    people = [{"resourceType": "Patient", "id": id_, "identifier": [TYPED]} for id_ in ("ann", "broken")]
    window = {"chromosome": {"coding": [{"code": "1"}]}, "windowStart": 5, "windowEnd": 9}
    sequence = {"resourceType": "MolecularSequence", "id": "s", "coordinateSystem": 0, "referenceSeq": window}
    put_all(database, [*sets, *people, sequence])
    as_before(database)
    assert [found(database, *one) for one in SEARCHES] == [[], [], []]
    assert any(step.startswith("0004 ") for step in schema.migrate(database))
    assert [len(found(database, *one)) for one in SEARCHES] == [600, 1, 1]
    assert found(database, "Patient", "identifier=1") == ["ann"]


def test_the_index_of_an_earlier_program_becomes_that_of_this_one(database: Database) -> None:
    put_all(database, [task(f"t{number}") for number in range(600)])
    with database.begin() as tx:
        every = select(ix).order_by(ix.c.h, ix.c.k)
        rows = [tuple(row.values()) for row in tx.rows(every)]
        tx.execute(delete(ix).where(ix.c.h % 2 == 0))
        tx.execute(ix.insert().values(h=presence_key("Task", "status"), k=rows[0][1]))
        tx.connection.execute(text("DROP INDEX ix_work_item_plan"))
        tx.connection.execute(text("CREATE INDEX ix_work_item_plan ON work_item (plan)"))
        at_revision(tx, "0004")
    assert schema.migrate(database)[0][:4] == "0005"
    with database.read() as tx:
        assert [tuple(row.values()) for row in tx.rows(every)] == rows
