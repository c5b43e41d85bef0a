"""`audit` as people use it: a whole trail, one that was tampered with, files for others, and rows that are old enough to go."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from api.cli import main
from api.command_acts import UNTOLD, action_of, told_arguments, told_settings
from fhir_tracker import audit_anchor, audit_keys, clock
from fhir_tracker.config import load_settings
from fhir_tracker.errors import Incorrect, Unavailable
from fhir_tracker.fhir.checks import check
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.sealing import audit_key
from fhir_tracker.storage import audit, trail
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_chain import Head, Sealer
from fhir_tracker.storage.audit_rows import Access
from fhir_tracker.storage.database import Database
from tests.peers.postgres.server import Postgres
from tests.support.command_line import all_leaves

SECRET = "the secret key of this test, of 32 and more"
ANN = Viewer(who="Practitioner/ann", name="Ann", roles=frozenset({"rn"}), client="app")
LONG_AGO = datetime(2010, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", SECRET)
    monkeypatch.setenv("FHIR_TRACKER_AUDIT_ANCHOR", str(tmp_path / "heads"))


def filled(
    url: str, *, at: datetime | None = None, count: int = 3, head: Path | None = None, secret: str = SECRET
) -> None:
    """A block of rows about p1, and its head in the anchor file."""
    now = at or clock.now()
    with closing(Database.open(url)) as database:
        database.seal_rows(lambda: audit_key(secret))
        rows = [
            Access(now, ANN, "search", "Task", "p1", "success", f"r{n}", {}, ("p1", f"p{n}"), "fhir", None, "=1+1")
            for n in range(count)
        ]
        trail.add(database, rows)
        found = Sealer(database).finish(now, 30)
    assert found is not None
    if head is not None:
        audit_anchor.append(head, found)


def run(url: str, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["audit", *words, "--database", url]) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.out + said.err


def empty(file: Path) -> Path:
    file.touch()
    return file


def tampered(url: str, *statements: str) -> None:
    with closing(Database.open(url)) as database, database.begin() as tx:
        for table in ("audit", "audit_block", "audit_patient"):
            for trigger in ("stays", "is_kept"):
                on = f" ON {table}" if tx.dialect == "postgresql" else ""
                tx.execute(text(f"DROP TRIGGER IF EXISTS {table}_{trigger}{on}"))
        for one in statements:
            tx.execute(text(one))


def rows(url: str) -> Sequence[AuditRow]:
    with closing(Database.open(url)) as database, database.read() as tx:
        return [one for one in audit.list(tx, open_viewer(), limit=1000) if one.who != "Device/set-up"]


@pytest.mark.security("S51", "B2")
def test_a_whole_trail_is_called_whole(ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    filled(ready_url, head=tmp_path / "heads")
    told = json.loads(run(ready_url, capsys, "verify", "--json"))
    assert (told["whole"], told["blocks"], told["anchors"], told["problems"]) == (True, 1, 1, [])
    assert told["rows"] >= 3
    assert (told["notAnchored"]["afterBlock"], told["notAnchored"]["rows"]) == (1, told["notSealedYet"])
    said = run(ready_url, capsys, "verify", "--anchor", str(empty(tmp_path / "none")))
    assert f"written down elsewhere: nothing; that the {told['rows']} rows from " in said
    assert "written down elsewhere: up to block 2, which is all" in run(ready_url, capsys, "verify")
    assert "the audit trail is whole" in run(ready_url, capsys, "verify", "--head", told["head"]["hash"])
    assert "head-missing" in run(ready_url, capsys, "verify", "--head", "0" * 64, code=1)
    assert len(rows(ready_url)) == 3


@pytest.mark.security("S51", "B2")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE audit SET who = 'Practitioner/bob' WHERE seq = (SELECT min(seq) FROM audit)", "edited: row "),
        ("DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)", "removed: block 1"),
        ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "removed: block 1"),
        ("UPDATE audit_block SET rows = 9", "block-edited: block 1"),
        ("DELETE FROM audit_block", "tail-cut: block 1"),
    ],
)
def test_what_was_done_to_it_is_said_and_where(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, change: str, said: str
) -> None:
    filled(ready_url, head=tmp_path / "heads")
    tampered(ready_url, change)
    told = run(ready_url, capsys, "verify", code=1)
    assert said in told
    assert "NOT whole" in told
    kinds = {
        one["kind"]
        for one in json.loads(run(ready_url, capsys, "verify", "--json", code=1).partition("fhir-tracker:")[0])[
            "problems"
        ]
    }
    assert said.partition(":")[0] in kinds


@pytest.mark.security("S51", "B2")
def test_an_old_copy_put_back_is_behind_the_anchor(
    capsys: pytest.CaptureFixture[str], prepared_file: Path, tmp_path: Path
) -> None:
    here, copy = tmp_path / "t.db", tmp_path / "copy.db"
    shutil.copyfile(prepared_file, here)
    url = f"sqlite:///{here}"
    filled(url, head=tmp_path / "heads")
    shutil.copyfile(here, copy)
    filled(url, head=tmp_path / "heads")
    run(url, capsys, "verify")
    for one in tmp_path.glob("t.db*"):
        one.unlink()
    shutil.copyfile(copy, here)
    assert "tail-cut: block " in run(url, capsys, "verify", code=1)
    filled(url, head=tmp_path / "heads")
    assert "chain-replaced: block " in run(url, capsys, "verify", code=1), "going on from there hides nothing"


def test_the_anchor_is_beside_a_sqlite_file_unless_told_otherwise(tmp_path: Path) -> None:
    beside = load_settings({"HOME": "/h"}, database="sqlite:////data/t.db")
    assert audit_anchor.anchor_file(beside) == Path("/data/t.db.anchor")
    own = load_settings({"HOME": "/h", "FHIR_TRACKER_AUDIT_ANCHOR": "/worm/heads"}, database="postgresql://h/n")
    assert audit_anchor.anchor_file(own) == Path("/worm/heads")
    assert audit_anchor.anchor_file(load_settings({"HOME": "/h"}, database="postgresql://h/n")) is None


def test_heads_are_only_added_and_half_a_line_at_the_end_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "new" / "heads"
    heads = [Head(chain="c", block=n, seq=n * 5, hash="h" * 64, at=LONG_AGO) for n in (1, 2)]
    for one in heads:
        audit_anchor.append(file, one)
    assert list(audit_anchor.read(file)) == heads
    assert list(audit_anchor.read(tmp_path / "none")) == []
    assert file.stat().st_mode & 0o077 == 0
    with file.open("a") as stream:
        stream.write('{"at": "2026-0')
    assert list(audit_anchor.read(file)) == heads
    with file.open("a") as stream:
        stream.write("\n{}\n")
    with pytest.raises(Incorrect, match="Line 3"):
        list(audit_anchor.read(file))
    with pytest.raises(Unavailable):
        audit_anchor.append(tmp_path, heads[0])


def test_a_file_that_is_no_anchor_is_refused(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "no anchor file" in run(ready_url, capsys, "verify", "--anchor", str(tmp_path / "none"), code=2)
    (tmp_path / "heads").write_text("nonsense\n")
    assert "Line 1" in run(ready_url, capsys, "verify", code=1)


TORN = ["", "{", '{"at": "2026-0', '{"at": "2026-03-09T15:30:00.000Z", "chain": "c", "blo', "\0\0\0\0"]
NO_HEADS = ["nonsense", "\0\1", "[]", "7", 'x{"at": "2026-0']


@pytest.mark.security("S51")
def test_what_a_crash_left_of_a_line_hides_no_head_that_was_written_after_it(tmp_path: Path) -> None:
    """Heads are only ever added: the next one begins where the torn one ends."""
    heads = [Head(chain="c", block=n, seq=n * 5, hash="h" * 64, at=LONG_AGO) for n in (1, 2)]
    for number, torn in enumerate(TORN):
        file = tmp_path / str(number)
        audit_anchor.append(file, heads[0])
        with file.open("a") as stream:
            stream.write(torn)
        assert list(audit_anchor.read(file)) == heads[:1], torn
        audit_anchor.append(file, heads[1])
        assert list(audit_anchor.read(file)) == heads, torn
    for number, odd in enumerate(NO_HEADS):
        for end in ("", "\n", '{"at": "2026'):
            file = tmp_path / f"odd-{number}"
            file.write_text(odd + end)
            with pytest.raises(Incorrect, match="Line 1"):
                list(audit_anchor.read(file))


@pytest.mark.security("S51", "B2")
def test_a_place_of_heads_that_holds_none_is_no_whole_trail(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    heads = tmp_path / "heads"
    filled(ready_url)
    told = run(ready_url, capsys, "verify", code=1)
    assert f"anchor-missing: {heads}: No head is written down there" in told
    assert "the audit trail is whole" in run(ready_url, capsys, "verify"), "a head was written when the command ended"
    kept = heads.read_text()
    for left in (None, "", "{"):
        heads.unlink(missing_ok=True)
        if left is not None:
            heads.write_text(left)
        problems = json.loads(run(ready_url, capsys, "verify", "--json", code=1).partition("fhir-tracker:")[0])[
            "problems"
        ]
        assert [one["kind"] for one in problems] == ["anchor-missing"], left
        heads.write_text(kept)
        assert "the audit trail is whole" in run(ready_url, capsys, "verify", "--anchor", str(heads))


@pytest.mark.security("S51", "B2")
def test_a_database_that_is_not_there_is_not_set_up_and_called_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "There is no database" in run(f"sqlite:///{tmp_path / 'gone.db'}", capsys, "verify", code=2)
    assert not list(tmp_path.glob("gone.db*"))


@pytest.mark.security("S55")
def test_after_a_new_secret_key_what_the_former_sealed_is_still_checked(
    ready_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    former = tmp_path / "former"
    former.write_text("a former secret key of 32 characters, or more\n")
    filled(ready_url, secret=former.read_text().strip())
    assert "unknown-key" in run(ready_url, capsys, "verify", code=1)
    run(ready_url, capsys, "verify", "--former", str(former))
    assert main(["keys", "reseal", "--former", str(former), "--database", ready_url]) == 0
    run(ready_url, capsys, "verify")
    tampered(ready_url, "UPDATE audit SET who = 'x' WHERE seq = (SELECT min(seq) FROM audit)")
    assert "edited" in run(ready_url, capsys, "verify", code=1)
    with closing(Database.open(ready_url)) as database:
        with database.begin() as tx:
            audit_keys.remember_former(tx, "a third secret key of 32 characters or more", SECRET)
        with database.read() as tx:
            assert len(audit_keys.known_keys(tx, "a third secret key of 32 characters or more")) == 3
            assert len(audit_keys.known_keys(tx, "a fourth, which opens nothing of what is kept")) == 1


@pytest.mark.security("M1", "S25", "B3")
def test_an_export_is_told_of_with_its_reason_and_runs_in_no_spreadsheet(
    ready_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(ready_url)
    words = ("export", "--from", "2020-01-01", "--to", "2100-01-01", "--reason", "asked by the patient")
    table = list(
        csv.DictReader(io.StringIO(run(ready_url, capsys, *words, "--format", "csv", "--patient", "Patient/p2")))
    )
    told_of = [(one["who"], one["patient"], one["patients"]) for one in table]
    assert told_of == [("Practitioner/ann", "", "p2"), ("Device/command-line", "p2", "")], "nobody else is named in it"
    assert table[0]["query"] == "'=1+1"
    given, told, *_ = rows(ready_url)
    assert (given.action, given.patients, told.patients) == ("export", ("p2",), ())
    assert (told.action, told.ref, told.kind, told.outcome) == ("export", "command/audit export", "command", "success")
    assert told.detail["arguments"]["reason"] == "asked by the patient"
    assert (told.who, bool(told.name)) == ("Device/command-line", True)
    events = [json.loads(line) for line in run(ready_url, capsys, *words).splitlines()]
    assert {one["resourceType"] for one in events} == {"AuditEvent"}
    assert len(events) >= 5
    (of_one,) = [
        one
        for one in map(json.loads, run(ready_url, capsys, *words, "--patient", "p2").splitlines())
        if one["subtype"][0]["code"] == "search-type"
    ]
    assert of_one["entity"][0]["what"] == {"reference": "Patient/p2"}
    assert "Patient/p1" not in json.dumps(of_one)
    assert of_one["meta"]["profile"] == [
        "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientQuery"
    ]
    assert all(not check(one) for one in [*events, of_one])
    everybody = {one for row in rows(ready_url) if row.ref == "command/audit export" for one in row.patients}
    assert {"p0", "p1", "p2"} <= everybody


@pytest.mark.security("M1")
@pytest.mark.parametrize(
    "words", [("--reason", " "), ("--reason", "x", "--from", "soon"), ("--reason", "x", "--from", "2101-01-01")]
)
def test_an_export_without_reason_or_time_is_refused(
    ready_url: str, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    assert run(ready_url, capsys, "export", "--from", "2020-01-01", "--to", "2100-01-01", *words, code=2)


@pytest.mark.security("B3")
def test_rows_are_shown_newest_first_and_of_one_patient(ready_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(ready_url)
    told: list[dict[str, Any]] = json.loads(run(ready_url, capsys, "show", "--patient", "p2", "--json"))["rows"]
    assert [(one["action"], one["ref"], one["request"]) for one in told] == [
        ("read", "command/audit show", ""),
        ("search", "Task", "r2"),
    ], "that one looks is told, too"
    assert run(ready_url, capsys, "show", "--limit", "1").count("\n") == 2
    assert run(ready_url, capsys, "show", "--limit", "0", code=2)
    assert [one.ref for one in rows(ready_url)][:2] == ["command/audit show"] * 2


@pytest.mark.security("B3", "S51")
def test_rows_that_are_old_enough_go_by_whole_blocks_and_the_chain_goes_on(
    ready_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(ready_url, at=LONG_AGO)
    filled(ready_url, at=LONG_AGO + timedelta(days=1), count=2)
    filled(ready_url, count=4)
    assert json.loads(run(ready_url, capsys, "prune", "--reason", "x", "--dry-run", "--json"))["rows"] == 5
    before = len(rows(ready_url))
    assert "5 rows were let go" in run(ready_url, capsys, "prune", "--reason", "six years are over")
    left = rows(ready_url)
    assert len(left) == before - 5 + 2
    assert (left[0].action, left[0].detail["rows"], left[0].detail["reason"]) == ("prune", 5, "six years are over")
    told = json.loads(run(ready_url, capsys, "verify", "--json"))
    assert (told["whole"], told["prunedBlocks"]) == (True, 2)
    assert "0 rows" in run(ready_url, capsys, "prune", "--reason", "again")
    with pytest.raises(Exception, match=r".*"), closing(Database.open(ready_url)) as database, database.begin() as tx:
        tx.execute(text("DELETE FROM audit"))
    assert len(rows(ready_url)) >= len(left)


@pytest.mark.security("S51")
def test_a_pruning_that_nobody_ordered_is_a_removal(ready_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(ready_url, at=LONG_AGO)
    filled(ready_url)
    told = "'{\"through_block\":1}'"
    columns = "at, who, action, ref, outcome, request_id, detail, kind"
    tampered(
        ready_url,
        f"INSERT INTO audit ({columns}) VALUES (1, 'Device/command-line', 'prune', 'AuditEvent', 'success', '', {told}, 'command')".replace(
            ":1}", "\\:1}"
        ),
        "DELETE FROM audit WHERE seq < (SELECT first_seq FROM audit_block WHERE number = 2)",
        "DELETE FROM audit_patient WHERE seq < (SELECT first_seq FROM audit_block WHERE number = 2)",
    )
    assert "removed: block 1" in run(ready_url, capsys, "verify", code=1)


@pytest.mark.security("S51", "B2")
def test_a_role_with_the_grants_works_and_cannot_change_the_trail(
    postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    name = postgres.create()
    url = postgres.url(name)
    assert main(["migrate", "--database", url]) == 0
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS tracker_app")
        owner.execute("CREATE ROLE tracker_app LOGIN")
    try:
        owner_name = str(make_url(url).username or "postgres")
        assert "owns the tables" in run(url, capsys, "grants", owner_name, code=1)
        assert "REVOKE ALL ON audit" in run(url, capsys, "grants", "tracker_app", "--execute")
        with psycopg.connect(url, user="tracker_app", autocommit=True) as app:
            for statement in (
                "UPDATE audit SET who = 'x'", "DELETE FROM audit", "TRUNCATE audit", "UPDATE audit_block SET rows = 0",
                "DELETE FROM audit_patient", "ALTER TABLE audit DISABLE TRIGGER ALL", "DROP TRIGGER audit_stays ON audit",
                "DROP TABLE audit", "ALTER TABLE audit ADD COLUMN x integer", "SELECT setval('audit_seq_seq', 1)",
                "UPDATE alembic_version SET version_num = '0001'",
            ):  # fmt: skip
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute(statement.encode())
        as_app = make_url(url).set(username="tracker_app").render_as_string(hide_password=False)
        with closing(Database.open(as_app)) as database:
            database.seal_rows(lambda: audit_key(SECRET))
            with database.begin() as tx:
                audit.add(tx, at=clock.now(), viewer=ANN, action="read", ref="Task/1")
            assert Sealer(database).finish(clock.now(), 30)
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("DROP OWNED BY tracker_app")
            owner.execute("DROP ROLE tracker_app")
        postgres.drop(name)


def test_sqlite_has_no_roles_to_grant_to(
    capsys: pytest.CaptureFixture[str], prepared_file: Path, tmp_path: Path
) -> None:
    shutil.copyfile(prepared_file, tmp_path / "t.db")
    assert "no roles" in run(f"sqlite:///{tmp_path / 't.db'}", capsys, "grants", "x", code=2)


@pytest.mark.security("B1", "S55")
def test_what_a_command_was_given_is_told_without_its_secrets() -> None:
    class Given:
        def __init__(self) -> None:
            self.key, self.client_secret, self.client_secret_file, self.empty = "clinic", "hush", "/etc/secret", ""
            self.func, self.json, self.many = print, True, ["a", Path("b")]

    told = told_arguments(Given())  # type: ignore[arg-type]
    assert told == {"key": "clinic", "client_secret": "...", "client_secret_file": "/etc/secret", "many": ["a", "b"]}
    settings = told_settings({"FHIR_TRACKER_SECRET_KEY": SECRET, "FHIR_TRACKER_LOG_LEVEL": "INFO", "PATH": "/bin"})
    assert settings == {"FHIR_TRACKER_SECRET_KEY": "...", "FHIR_TRACKER_LOG_LEVEL": "INFO"}


@pytest.mark.security("B1", "S52")
def test_every_command_but_those_that_show_and_change_nothing_is_told_of() -> None:
    known = [" ".join(words) for words, _ in all_leaves()]
    assert {one for one in UNTOLD if one.split()[0] in {name.split()[0] for name in known}} <= set(known), (
        "a name that is none"
    )
    told = {name for name in known if action_of(name)}
    changing = {
        "add",
        "change",
        "smart",
        "remove",
        "publish",
        "withdraw",
        "approve",
        "rollback",
        "enrol",
        "retry",
        "discard",
    }
    changing |= {
        "resolve",
        "rotate",
        "retire",
        "reseal",
        "revoke",
        "disable",
        "away",
        "cap",
        "back",
        "load",
        "prune",
        "export",
        "repair",
    }
    assert {name for name in known if name.split()[-1] in changing} <= told
    assert {"serve", "worker", "sync", "migrate", "rebuild", "quarantine show", "rules explain", "audit show"} <= told


COMMANDS: list[tuple[tuple[str, ...], str, int]] = [
    (("connection", "add", "clinic", "--base-url", "http://127.0.0.1:9/fhir"), "configure", 0),
    (("program", "list"), "", 0),
    (("quarantine", "list"), "read", 0),
    (("rules", "release"), "configure", 0),
    (("keys", "rotate"), "configure", 0),
    (("connection", "remove", "nothing", "--yes"), "configure", 1),
]


@pytest.mark.security("B1", "S52")
@pytest.mark.parametrize(("words", "action", "code"), COMMANDS, ids=[" ".join(words[:2]) for words, _, _ in COMMANDS])
def test_a_command_leaves_its_row_before_it_acts_and_another_when_it_fails(
    ready_url: str, capsys: pytest.CaptureFixture[str], words: Sequence[str], action: str, code: int
) -> None:
    assert main([*words, "--database", ready_url]) == code
    capsys.readouterr()
    found = [(one.action, one.ref, one.outcome) for one in reversed(rows(ready_url)) if one.kind == "command"]
    expected = [(action, f"command/{' '.join(words[:2])}", "success")] if action else []
    expected += [(action, f"command/{' '.join(words[:2])}", "error")] if code else []
    assert found == expected
    run(ready_url, capsys, "verify")
