"""The command line as people and scripts meet it: names, exit codes, one clear line an error, no stack traces."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from api.cli import COMMANDS, _parser, main
from api.stores import key_file, secret_key
from fhir_tracker.config import load_settings
from fhir_tracker.errors import UsageError
from fhir_tracker.rules.starters import starter_programs

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).parent / "fhir-tracker"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person with nothing set and an empty home."""
    for name in [name for name in os.environ if name.startswith("FHIR_TRACKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | environment
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=300, check=False, env=env)


def test_help_names_every_command_and_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    told = " ".join(said.split())
    assert [name for name, purpose in COMMANDS.items() if f" {name} {purpose}" not in told] == []
    assert "examples:" in said
    assert "exit codes:" in said


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        ("--help", "sqlalchemy psycopg fastapi uvicorn httpx celery rich holidays"),
        ("nonsense", "sqlalchemy psycopg fastapi uvicorn httpx celery rich holidays"),
        ("version", "alembic fastapi uvicorn httpx celery rich holidays"),
        ("staff list", "alembic fastapi uvicorn jinja2 celery rich"),
    ],
)
def test_a_command_waits_for_no_library_that_it_does_not_need(words: str, needless: str, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'tracker.db'}"
    assert main(["staff", "list", "--database", database]) == 0
    script = (
        "import sys\nfrom api.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('imported', sorted(set({needless.split()}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, *words.split(), "--database", database]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ)
    assert done.stdout.endswith("imported []\n"), done.stdout[-200:] + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_and_is_in_the_docs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: fhir-tracker {name}" in capsys.readouterr().out
    assert f"`fhir-tracker {name}" in (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        "serve --port 8080 --host 127.0.0.1 --public-url http://x --database sqlite:///x --open --no-worker",
        "worker --database sqlite:///x --once",
        "demo --port 8080 --check",
        "connection add clinic --base-url http://x/fhir --mapping generic --poll 30s --types A,B --subscribe none",
        "connection list",
        "connection show clinic",
        "connection test clinic",
        "connection remove clinic",
        "sync --once --json",
        "sync clinic --once",
        "program validate FILE",
        "program publish FILE",
        "program list",
        "program show tcm",
        "plan regenerate CarePlan/x --dry-run --re-own",
        "rules explain Task/x --json",
        "quarantine list",
        "quarantine show 1",
        "quarantine retry",
        "quarantine retry 1",
        "rebuild",
        "migrate",
        "doctor --json",
        "version",
    ],
)
@pytest.mark.parametrize("placed", ["before", "after"])
def test_the_fixed_command_line_is_understood(words: str, placed: str) -> None:
    given = words.split()
    if "--database" not in given:
        option = ["--database", "sqlite:///y"]
        given = [*option, *given] if placed == "before" else [*given, *option]
    parsed = _parser(given).parse_args(given)
    assert parsed.database in ("sqlite:///x", "sqlite:///y")
    assert callable(parsed.func)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "COMMAND"),
        (["serv"], 2, "did you mean serve"),
        (["serve", "--prot", "1"], 2, "--prot"),
        (["serve", "--port", "99999"], 2, "not a port"),
        (["serve", "--port", "x"], 2, "not a port"),
        (["serve", "--public-url", "x"], 2, "--public-url"),
        (["rules", "explain", "Patient/x"], 2, "is not Task/ID"),
        (["rules", "explain", "Task/none"], 1, "no work item"),
        (["program", "show", "none"], 1, "no program none"),
        (["program", "validate", "/no/such/file"], 2, "cannot be read"),
        (["connection", "show", "none"], 1, "none"),
        (["version", "--database", "mysql://x"], 2, "postgresql://"),
        (["program", "list", "--database", "postgresql://127.0.0.1:1/x"], 3, "cannot be reached"),
        (["sync", "--once", "--database", "postgresql://127.0.0.1:1/x"], 3, "cannot be reached"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(words: list[str], code: int, says: str) -> None:
    done = run(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_an_unknown_setting_stops_every_command() -> None:
    done = run("version", FHIR_TRACKER_LOGLEVEL="INFO")
    assert (done.returncode, "Did you mean FHIR_TRACKER_LOG_LEVEL" in done.stderr) == (2, True)


def test_version_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert re.fullmatch(r"fhir-tracker \S+ \(Python \S+, schema \w+\)\n", capsys.readouterr().out)
    assert main(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"fhir-tracker", "python", "schema"}


def test_a_first_command_sets_up_the_default_database_and_publishes_the_starters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["program", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["code"], one["version"], one["status"]) for one in listed] == [
        (code, 1, "active") for code in sorted(starter_programs())
    ]
    folder = tmp_path / "share" / "fhir-tracker"
    assert (folder / "tracker.db").exists()
    assert folder.stat().st_mode & 0o077 == 0


def test_every_command_takes_either_database(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--database", database_url, "program", "list"]) == 0
    assert main(["rebuild", "--database", database_url, "--json"]) == 0
    assert main(["migrate", "--database", database_url]) == 0
    assert "up to date" in capsys.readouterr().out
    assert main(["worker", "--once", "--database", database_url]) == 0


def test_a_program_file_is_checked_by_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "walk.yaml"
    file.write_text("program: walk\ntitle: Walking\nstatuses: 7\ncolour: red\n", encoding="utf-8")
    done = run("program", "validate", str(file))
    assert done.returncode == 1
    assert re.search(r"line \d+, column \d+", done.stderr)
    assert "colour" in done.stderr
    told = run("program", "validate", str(file), "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["valid"] is False
    assert run("program", "publish", str(file)).returncode == 1


def test_a_version_that_this_release_cannot_read_is_listed_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'tracker.db'}"
    assert main(["program", "list", "--database", url]) == 0
    with closing(sqlite3.connect(tmp_path / "tracker.db")) as file, file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {name}")
        file.execute("UPDATE program SET source = 'program: [broken' || char(10) WHERE code = 'ccm'")
    capsys.readouterr()
    assert main(["program", "list", "--database", url, "--json"]) == 0
    told = capsys.readouterr()
    assert {one["code"]: one["status"] for one in json.loads(told.out)}["ccm"] == "active"
    assert told.err.startswith("warning: ccm version 1 cannot be read by this release: ")
    assert main(["program", "list", "--database", url]) == 0
    assert "Chronic care" in capsys.readouterr().out
    assert main(["program", "show", "ccm", "--database", url]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0].endswith("version 1, unreadable")
    assert told.out.splitlines()[1] == "program: [broken"
    assert "cannot be read" in told.err
    assert main(["program", "show", "tcm", "--database", url, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["version"] == 1
    assert told.err == ""


def test_a_published_program_can_be_shown_and_published_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["program", "show", "tcm"]) == 0
    source = capsys.readouterr().out.split("\n", 1)[1]
    file = tmp_path / "tcm.yaml"
    file.write_text(source, encoding="utf-8")
    assert main(["program", "validate", str(file)]) == 0
    assert main(["program", "publish", str(file), "--json"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") :]) | {"program": "tcm", "version": 1, "warnings": []} == json.loads(
        said[said.index("{") :]
    )
    file.write_text(source + "\n# changed\n", encoding="utf-8")
    assert main(["program", "publish", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2


def test_releasing_a_brake_that_is_off_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "release"]) == 0
    assert "not on" in capsys.readouterr().out


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    assert run("migrate", "--database", url).returncode == 0
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    done = run("program", "list", "--database", url)
    assert done.returncode == 2
    assert "newer" in done.stderr


def test_output_cut_short_by_a_pipe_is_no_error() -> None:
    line = f"'{PROGRAM}' program show tcm | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_mistake_of_ours_is_one_line() -> None:
    script = "import sys, api.cli as c\nc._parser = lambda words: 1 / 0\nsys.exit(c.main(['version']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fhir-tracker: a mistake in the program (ZeroDivisionError at ")
    assert len(done.stderr.splitlines()) == 1


def test_doctor_says_how_each_part_stands_and_how_to_mend_it(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor", "--database", database_url, "--json"])
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["database"]["status"] == found["schema"]["status"] == found["durability"]["status"] == "OK"
    assert found["worker"]["status"] == found["connections"]["status"] == "WARN"
    assert all(one["fix"] for one in found.values() if one["status"] != "OK")
    assert main(["doctor", "--database", database_url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("OK ", "WARN ")) for line in lines)


def test_doctor_fails_on_a_database_that_is_away_and_warns_of_an_ehr_that_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["connection", "add", "away", "--base-url", "http://127.0.0.1:9/fhir"]) in (0, 3)
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert re.search(
        r"^WARN  connection away .*; to mend it: fhir-tracker connection test away$", capsys.readouterr().out, re.M
    )
    assert main(["doctor", "--database", "postgresql://127.0.0.1:1/x"]) == 1
    assert "FAIL  database" in capsys.readouterr().out


def test_a_secret_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    settings = load_settings({}, database=f"sqlite:///{tmp_path / 'a' / 't.db'}")
    key = secret_key(settings)
    assert len(key) >= 32
    assert secret_key(settings) == key
    assert key_file(settings).stat().st_mode & 0o777 == 0o600
    key_file(settings).chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        secret_key(settings)
    assert secret_key(load_settings({"FHIR_TRACKER_SECRET_KEY": "s" * 32})) == "s" * 32
