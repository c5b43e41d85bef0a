"""Whom a command showed is in the trail by name, before it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.cli import main
from api.command_acts import READING, UNTOLD, CommandAct, action_of, note_shown
from api.command_acts import RUNNING as RUNS
from fhir_tracker import clock, poison
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import audit, dispatches, glass, notifications, outbox, quarantine, work_items
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_work import MOST_PATIENTS
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.dispatches import Untold
from fhir_tracker.storage.glass import Opening
from fhir_tracker.storage.outbox import Changed
from fhir_tracker.storage.quarantine import Whose
from tests.storage.samples import item, put, task
from tests.support.clinic import RING, Clinic
from tests.support.commands import without_settings

NOW = datetime(2026, 3, 9, 14, 0, tzinfo=UTC)
ANN = Viewer(who="Practitioner/ann")


@pytest.fixture
def stocked(ready_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store in which the outbox, the quarantine and the work have something of two patients."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "the secret key of this test, of 32 and more")
    assert main(["connection", "add", "c", "--base-url", "http://127.0.0.1:9/fhir", "--database", ready_url]) == 0
    with closing(Database.open(ready_url)) as database, database.begin() as tx:
        for number, patient in enumerate(("ann", "bob", "ann")):
            id_ = f"t{number}"
            put(tx, task(id_, patient))
            work_items.save(tx, item(f"Task/{id_}", patient=patient))
            changed = Changed(connection="c", type="Task", local_id=id_, patient=patient, made_here=True, version=1)
            outbox.put(tx, changed, NOW)
            told = {"reason": "shape", "detail": "odd", "body": "{}", "at": NOW}
            quarantine.put(tx, Whose(patient=patient), connection="c", type_="Task", remote_id=id_, **told)  # type: ignore[arg-type]
        audit.add(tx, at=NOW, viewer=ANN, action="search", ref="Task", patients=["ann", "bob"])
    return ready_url


def rows(url: str, command: str) -> list[AuditRow]:
    with closing(Database.open(url)) as database, database.read() as tx:
        found = reversed(audit.list(tx, open_viewer(), limit=1000))
        return [one for one in found if one.ref == f"command/{command}"]


SHOWING: list[tuple[Sequence[str], str, set[str]]] = [
    (("outbox", "list"), "outbox list", {"ann", "bob"}),
    (("outbox", "list", "--json"), "outbox list", {"ann", "bob"}),
    (("outbox", "show", "ID"), "outbox show", {"ann"}),
    (("quarantine", "list"), "quarantine list", {"ann", "bob"}),
    (("quarantine", "show", "ID"), "quarantine show", {"ann"}),
    (("rules", "explain", "Task/t1"), "rules explain", {"bob"}),
    (("audit", "show"), "audit show", {"ann", "bob"}),
    (("audit", "show", "--patient", "bob"), "audit show", {"bob"}),
    (("audit", "show", "--patient", "bob", "--json"), "audit show", {"bob"}),
]


@pytest.mark.security("B1", "S52")
@pytest.mark.parametrize(("words", "name", "patients"), SHOWING, ids=[" ".join(words) for words, _, _ in SHOWING])
def test_whom_a_command_showed_is_named_in_a_row(
    stocked: str, capsys: pytest.CaptureFixture[str], words: Sequence[str], name: str, patients: set[str]
) -> None:
    with closing(Database.open(stocked)) as database, database.read() as tx:
        id_ = str(tx.ask(f"SELECT min(id) FROM {'outbox' if words[0] == 'outbox' else 'quarantine'}", [])[0][0])
    assert main([*(id_ if word == "ID" else word for word in words), "--database", stocked]) == 0
    assert capsys.readouterr().out
    begun, shown = rows(stocked, name)
    assert (begun.action, shown.action, shown.kind, shown.outcome) == ("read", "read", "command", "success")
    assert begun.patients == ()
    assert set(shown.patients) == patients
    assert shown.detail["shown"] == len(patients)
    assert begun.patient == ("bob" if "--patient" in words else None)


@pytest.mark.security("B1")
def test_what_shows_nobody_names_nobody(stocked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outbox", "list", "--connection", "c", "--state", "dead", "--database", stocked]) == 0
    assert main(["quarantine", "show", "999", "--database", stocked]) == 1
    assert [one.patients for one in rows(stocked, "outbox list")] == [()]
    assert [one.outcome for one in rows(stocked, "quarantine show")] == ["success", "error"]
    assert capsys.readouterr().out


@dataclass(frozen=True)
class Running:
    """A command that runs."""

    act: CommandAct


@pytest.fixture
def running() -> Iterator[Running]:
    act = CommandAct(name="outbox list", action="read")
    token = RUNS.set(act)
    yield Running(act)
    RUNS.reset(token)


def test_many_patients_take_several_rows(running: Running, ready_url: str) -> None:
    with closing(Database.open(ready_url)) as database:
        note_shown(database, NOW, [*(f"p{number}" for number in range(MOST_PATIENTS + 5)), None, "", "p1"])
    first, second = rows(ready_url, running.act.name)
    assert (len(first.patients), len(second.patients)) == (MOST_PATIENTS, 5)
    assert first.detail == second.detail == {"shown": MOST_PATIENTS + 5}


@pytest.mark.security("B1")
def test_no_command_that_reads_of_patients_is_untold() -> None:
    assert not READING & UNTOLD
    assert {action_of(name) for name in READING} == {"read"}


NEITHER_EARLY = RING.replace("{overdue_by: 0 hours}", "{overdue_by: 4 hours}")


@dataclass(frozen=True)
class Worked:
    """A clinic whose ringing to three patients is late; `held` is a plain Task of a fourth that nobody owns."""

    url: str
    file: str
    words: Mapping[str, str]


@pytest.fixture
def worked(ready_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Worked]:
    without_settings(monkeypatch, tmp_path)
    start = clock.now() - timedelta(days=2, hours=2)
    (tmp_path / "new.yaml").write_text(NEITHER_EARLY)
    with closing(Database.open(ready_url)) as database:
        clinic = Clinic(database, at=start)
        for id_ in ("ann", "bob", "cleo", "dora", "emil"):
            clinic.patient(id_, start)
        for id_ in ("ann", "bob", "cleo"):
            clinic.discharge(id_, start)
        clinic.put(task("held", "dora") | {"status": "on-hold"}, start)
        clinic.sweep(clock.now())
        late = {id_: clinic.task(id_, "first-call") for id_ in ("ann", "bob", "cleo")}
        _left_lying(database, late["ann"], late["bob"])
        yield Worked(
            ready_url,
            str(tmp_path / "new.yaml"),
            {"FILE": str(tmp_path / "new.yaml"), "NOW": clock.now().isoformat(), "ANN": late["ann"].ref}
            | {"PLAN": late["bob"].plan or "", "BEFORE": (clock.now() - timedelta(hours=1)).isoformat()},
        )


def _left_lying(database: Database, first: WorkItem, second: WorkItem) -> None:
    """A mail about the one that was refused, the other put off by the rules, and one restricted record opened."""
    now = clock.now()
    with database.begin() as tx:
        told = {"channel": "email", "to_role": "rn", "to_person": None, "subject": first.ref, "patient": first.patient}
        id_ = notifications.add(tx, **told, text="late", at=now)  # type: ignore[arg-type]
        to = Untold(channel="email", role="rn", person=None, oldest=now)
        dispatches.add(tx, to, [str(id_)], address="", at=now, reason="no address is set")
        poison.note(tx, second, "odd", now)
        glass.add(
            tx,
            Opening(
                id="o", who="Practitioner/ann", patient="emil", reason="she fell in the hall", began_at=now, ends_at=now
            ),
        )


WORK: list[tuple[Sequence[str], set[str]]] = [
    (("notifications", "list"), {"ann"}),
    (("notifications", "list", "--state", "unsupported", "--json"), {"ann"}),
    (("measures", "findings", "no-due"), {"dora"}),
    (("measures", "findings", "--json"), {"ann", "bob", "cleo", "dora"}),
    (("measures", "repair", "endless-hold", "--dry-run"), {"dora"}),
    (("program", "dry-run", "ring", "--file", "FILE", "--since", "10d"), {"ann", "bob", "cleo"}),
    (("program", "dry-run", "ring", "--file", "FILE", "--since", "10d", "--patients", "1"), {"ann"}),
    (("rules", "replay", "--as-of", "NOW", "ANN"), {"ann"}),
    (("rules", "poisoned"), {"bob"}),
    (("rules", "poisoned", "--release"), {"bob"}),
    (("break-glass", "list"), {"emil"}),
    (("plan", "regenerate", "PLAN", "--dry-run"), {"bob"}),
]


@pytest.mark.security("B1", "S52")
def test_whose_work_a_command_showed_is_named_in_a_row(worked: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    for words, patients in WORK:
        known = len(rows(worked.url, " ".join(words[:2])))
        assert main([*(worked.words.get(word, word) for word in words), "--database", worked.url]) == 0
        assert capsys.readouterr().out
        begun, shown = rows(worked.url, " ".join(words[:2]))[known:]
        assert (words, begun.patients, set(shown.patients)) == (words, (), patients)
        assert (shown.action, shown.outcome) == (begun.action, "success")
    with closing(Database.open(worked.url)) as database, database.begin() as tx:
        tx.run("DELETE FROM firing WHERE item = %s", [worked.words["ANN"]])
    assert main(["rules", "replay", "--as-of", worked.words["BEFORE"], "--database", worked.url]) == 1
    assert "NEVER FIRED" in capsys.readouterr().out
    assert rows(worked.url, "rules replay")[-1].patients == ("ann", "bob", "cleo")


DECIDED: list[tuple[Sequence[str], int]] = [
    (("quarantine", "discard", "FIRST", "--reason", "a test of theirs"), 0),
    (("quarantine", "retry", "LAST"), 1),
]


@pytest.mark.security("B1")
def test_of_whom_a_command_decided_is_named_in_a_row(stocked: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in DECIDED:
        with closing(Database.open(stocked)) as database, database.read() as tx:
            ids = [str(one) for one in tx.ask(f"SELECT min(id), max(id) FROM {words[0]}", [])[0]]
        given = dict(zip(("FIRST", "LAST"), ids, strict=True))
        assert main([*(given.get(word, word) for word in words), "--database", stocked]) == code
        assert capsys.readouterr().out
        assert {one for row in rows(stocked, " ".join(words[:2])) for one in row.patients} == {"ann"}
