"""What was taken out of the trail before it was sealed is put back by the process that wrote it, and found by `verify`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from api.audit_keeper import AuditKeeper, restore, seal_at_end
from fhir_tracker.config import Settings
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.sealing import audit_key
from fhir_tracker.storage import audit, trail
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_chain import Sealer
from fhir_tracker.storage.audit_checking import check
from fhir_tracker.storage.audit_rows import Access, Signer
from fhir_tracker.storage.audit_witness import Witness
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.late import late
from fhir_tracker.storage.witnessing import MOST_SEEN, Seen

KEY = audit_key("the secret of these tests, and of nothing else")
NOW = datetime(2026, 3, 9, 14, 0, tzinfo=UTC)
ANN = Viewer(who="Practitioner/ann", name="Ann", roles=frozenset({"rn"}), client="app")


@pytest.fixture
def sealing(database: Database) -> Database:
    """A store whose rows are sealed, with three rows in a block."""
    database.seal_rows(lambda: KEY)
    trail.add(database, [row(f"Task/{number}") for number in range(3)])
    assert Sealer(database).finish(NOW, 30)
    return database


def row(ref: str) -> Access:
    return Access(NOW, ANN, "read", ref, "p1", "success", f"r-{ref}", {"é": '"\\'}, ("p1", "p2"), "fhir", 3, "name=x")


def rows(database: Database) -> list[AuditRow]:
    with database.read() as tx:
        return list(reversed(audit.list(tx, open_viewer(), limit=1000)))


def refs(database: Database) -> list[str]:
    return [one.ref for one in rows(database)]


def problems(database: Database) -> list[str]:
    with database.read() as tx:
        return [one.kind for one in check(tx, {Signer(lambda: KEY).known_id(): KEY}).problems]


def remove(database: Database, *refs: str) -> None:
    """As somebody does who owns the database."""
    with database.begin() as tx:
        on = " ON audit" if tx.dialect == "postgresql" else ""
        tx.execute(text(f"DROP TRIGGER IF EXISTS audit_is_kept{on}"))
        for ref in refs:
            tx.execute(text("DELETE FROM audit WHERE ref = :ref").bindparams(ref=ref))


@pytest.mark.security("S51", "B2")
def test_a_row_removed_before_it_was_sealed_is_written_again_as_it_was(
    sealing: Database, caplog: pytest.LogCaptureFixture
) -> None:
    witness = Witness(sealing)
    restore(sealing, witness)
    trail.add(sealing, [row("Task/a"), row("Task/b"), row("Task/c")])
    (before,) = [one for one in rows(sealing) if one.ref == "Task/b"]
    remove(sealing, "Task/b")
    with caplog.at_level(logging.ERROR):
        restore(sealing, witness)
    assert "audit rows had been removed" in caplog.text
    back, said = rows(sealing)[-2:]
    assert {**vars(back), "seq": 0} == {**vars(before), "seq": 0}
    assert (said.action, said.kind, said.who) == ("restored", "security", "Device/audit")
    assert said.detail == {"rows": 1, "of": [{"who": "Practitioner/ann", "action": "read", "ref": "Task/b"}]}
    assert Sealer(sealing).finish(NOW, 30)
    restore(sealing, witness)
    assert refs(sealing).count("Task/b") == 1
    assert set(problems(sealing)) == {"restored"} | ({"removed"} if sealing.dialect == "sqlite" else set())


@pytest.mark.security("S51", "B2")
def test_a_row_is_put_back_as_often_as_it_is_removed_and_so_is_what_says_so(sealing: Database) -> None:
    witness = Witness(sealing)
    trail.add(sealing, [row("Task/a")])
    for _ in range(3):
        remove(sealing, "Task/a", "")
        restore(sealing, witness)
        assert "Task/a" in refs(sealing)
    assert [one.action for one in rows(sealing)].count("restored") == 3


@pytest.mark.security("S51", "B2")
def test_a_row_removed_between_the_look_and_the_seal_is_missed_by_the_next_look(sealing: Database) -> None:
    witness = Witness(sealing)
    trail.add(sealing, [row("Task/a"), row("Task/b")])
    assert witness.missing() == []
    remove(sealing, "Task/a")
    assert Sealer(sealing).finish(NOW, 30)
    restore(sealing, witness)
    assert refs(sealing)[-2:] == ["Task/a", ""]


@pytest.mark.security("S51")
def test_an_edited_row_is_there_again_as_it_was_written(sealing: Database) -> None:
    trail.add(sealing, [row("Task/a")])
    with sealing.begin() as tx:
        tx.execute(text(f"DROP TRIGGER IF EXISTS audit_stays{' ON audit' if tx.dialect == 'postgresql' else ''}"))
        tx.execute(text("UPDATE audit SET mac = 'x.y' WHERE ref = 'Task/a'"))
    restore(sealing, Witness(sealing))
    assert refs(sealing).count("Task/a") == 2


def by_transaction(database: Database) -> None:
    with database.begin() as tx:
        audit.add_access(tx, row("Task/x"))
        tx.flush()
        audit.add_access(tx, row("Task/y"))


def by_late_write(database: Database) -> None:
    with late(database) as tx:
        audit.add_access(tx, row("Task/x"))
        audit.add_access(tx, row("Task/y"))


def by_many(database: Database) -> None:
    trail.add(database, [row("Task/x"), row("Task/y")])


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize("write", [by_transaction, by_late_write, by_many])
def test_whichever_way_rows_are_written_they_are_remembered(sealing: Database, write: object) -> None:
    sealing.seen.take()
    write(sealing)  # type: ignore[operator]
    assert [one[3] for one in sealing.seen.take()] == ["Task/x", "Task/y"]
    write(sealing)  # type: ignore[operator]
    remove(sealing, "Task/x", "Task/y")
    restore(sealing, Witness(sealing))
    assert sorted(refs(sealing)[-3:]) == ["", "Task/x", "Task/y"]


class GivenUp(Exception):
    """Why a transaction is not committed."""


@pytest.mark.parametrize("flushed", [False, True])
def test_what_was_rolled_back_is_not_missed(sealing: Database, *, flushed: bool) -> None:
    sealing.seen.take()
    with suppress(GivenUp), sealing.begin() as tx:
        audit.add_access(tx, row("Task/x"))
        if flushed:
            tx.flush()
        raise GivenUp
    with suppress(GivenUp), late(sealing) as tx:
        audit.add_access(tx, row("Task/y"))
        if flushed:
            tx.flush()
        raise GivenUp
    assert sealing.seen.take() == []
    before = refs(sealing)
    restore(sealing, Witness(sealing))
    assert refs(sealing) == before


def test_rows_that_a_block_holds_are_waited_for_no_more(sealing: Database) -> None:
    witness = Witness(sealing)
    trail.add(sealing, [row("Task/a")])
    assert witness.missing() == []
    assert Sealer(sealing).finish(NOW, 30)
    assert witness.missing() == []
    remove(sealing, "Task/a")
    assert witness.missing() == []
    assert "removed" in problems(sealing)


def test_a_row_told_of_late_is_found_among_the_older_ones(sealing: Database) -> None:
    """Its transaction was committed, and sealed by another process, before this one came to remember it."""
    witness = Witness(sealing)
    trail.add(sealing, [row("Task/a"), row("Task/b")])
    late_ = sealing.seen.take()
    trail.add(sealing, [row("Task/c")])
    assert Sealer(sealing).finish(NOW, 30)
    witness.missing()
    sealing.seen.add(late_)
    assert witness.missing() == []


def test_what_is_remembered_has_a_bound() -> None:
    seen = Seen()
    for start in range(0, MOST_SEEN + 500, 100):
        seen.add([(number,) for number in range(start, start + 100)])
    taken: Sequence[Sequence[int]] = seen.take()
    assert (len(taken), taken[-1]) == (MOST_SEEN, (MOST_SEEN + 499,))
    assert seen.take() == []


@pytest.mark.security("S51", "B2")
def test_a_process_that_runs_and_one_that_ends_put_back_what_they_wrote(sealing: Database, settings: Settings) -> None:
    keeper = AuditKeeper(sealing, settings)
    trail.add(sealing, [row("Task/a")])
    remove(sealing, "Task/a")
    keeper.step()
    assert refs(sealing).count("Task/a") == 1
    trail.add(sealing, [row("Task/b")])
    remove(sealing, "Task/b")
    seal_at_end(sealing, settings)
    assert refs(sealing).count("Task/b") == 1
    assert set(problems(sealing)) <= {"restored", "removed"}
