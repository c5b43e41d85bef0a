"""Whatever stands on the command line of programs, rules, measures, jobs and staff: one clear answer, never a stack trace."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from api.cli import main
from api.console import print_lines, print_table, show_everything
from fhir_tracker import staffing
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import notifications
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, RING, Clinic
from tests.support.commands import without_settings
from tests.test_staffing import practitioner, role

HUGE: Final = "99999999999999999999"
ODD: Final = "\udcff"
"""A byte that is no UTF-8, as Python hands it over from the command line."""
LONG: Final = "a" * 300
ESCAPE: Final = "\x1b[2J"
Answer = tuple[int, str, str]
Run = Callable[..., Answer]

NOWHERE: Final[dict[str, tuple[int, str]]] = {
    "program show tcm --version 0": (1, "There is no version 0 of tcm"),
    "program show tcm --version -1": (1, "There is no version -1 of tcm"),
    f"program show tcm --version {HUGE}": (1, f"There is no version {HUGE} of tcm"),
    "program show nope": (1, "There is no program nope"),
    f"program show {ODD}": (1, "cannot be held"),
    f"program history {ODD}": (1, "cannot be held"),
    "program history nope": (1, "There is no program nope"),
    f"program approve tcm --version {HUGE}": (1, "tcm"),
    "program approve nope": (1, "nope"),
    "program withdraw tcm --version 1": (1, "tcm"),
    f"program withdraw tcm --by {ODD}": (1, "tcm"),
    f"program rollback tcm --to {HUGE}": (1, "no earlier version"),
    "program rollback tcm --to -1": (1, "no earlier version"),
    "program rollback nope": (1, "nope"),
    "program migrate-plans tcm --to 0": (1, "version 0"),
    f"program migrate-plans tcm --to {HUGE}": (1, "cannot be held"),
    "program migrate-plans tcm --map a=b,c": (2, "c"),
    "program migrate-plans tcm --map =": (2, "="),
    "program migrate-plans tcm --map stage:=x": (2, "stage"),
    f"program migrate-plans tcm --map {ODD}=b": (2, "b"),
    f"program diff {LONG}": (2, "cannot be read"),
    "program diff tcm:x": (1, "There is no tcm:x"),
    "program diff tcm:99": (1, "There is no tcm:99"),
    "program diff :1": (2, "cannot be read"),
    "program diff a b c": (2, "one or two"),
    "program dry-run nope": (2, "nope cannot be read"),
    "program dry-run tcm --since 999999999d": (2, "before the calendar begins"),
    "program dry-run tcm --since 0d": (2, "more than 0"),
    "program dry-run tcm --since 5 days": (2, "unrecognized"),
    "program dry-run tcm --since yesterday": (2, "yesterday"),
    "program dry-run tcm --until 0001-01-01T00:00:00Z": (2, "before the calendar"),
    "program dry-run tcm --until 2026-02-30": (2, "2026-02-30"),
    "program dry-run tcm --patients -1": (2, "-1"),
    "program dry-run tcm --patients 0": (2, "0"),
    "program dry-run tcm --patients x": (2, "x"),
    "program enrol nope Patient/x": (1, "nope"),
    "program enrol tcm Patient/x": (1, "Patient/x"),
    "program enrol tcm x": (2, "is not Patient/ID"),
    f"program enrol tcm Patient/{ODD}": (2, "is not Patient/ID"),
    "program enrol tcm Patient/../x": (2, "is not Patient/ID"),
    f"program enrol tcm Patient/{LONG}": (2, "is not Patient/ID"),
    "program validate nowhere.yaml": (2, "cannot be read"),
    f"program validate {ODD}.yaml": (2, "cannot be read"),
    f"program validate {LONG}": (2, "cannot be read"),
    "program validate /": (2, "cannot be read"),
    "program validate /dev/null": (1, "the file is empty"),
    "program validate /dev/zero": (1, "the most is 256000"),
    "program publish /dev/zero": (1, "the most is 256000"),
    "program publish nowhere.yaml": (2, "cannot be read"),
    "program diff /dev/zero": (1, "the most is 256000"),
}
OTHERS: Final[dict[str, tuple[int, str]]] = {
    "rules explain Task/x": (1, "Task/x"),
    f"rules explain Task/{ODD}": (1, ""),
    "rules explain Task/a/b": (1, "Task/a/b"),
    "rules explain CarePlan/": (2, "is not Task/ID"),
    "rules explain Patient/x": (2, "is not Task/ID"),
    "rules explain": (2, "required"),
    "rules replay --as-of 0001-01-01T00:00:00+14:00": (2, "0001"),
    "rules replay --as-of 9999-12-31T23:59:59-12:00": (2, "9999"),
    "rules replay --as-of 2026-13-01T00:00:00Z": (2, "2026-13"),
    "rules replay --as-of 2026-03-10T21": (2, "2026-03-10"),
    "rules replay --as-of now": (2, "now"),
    "rules replay Task/x": (2, "--as-of"),
    "rules replay --as-of 2026-03-10T21:00:00Z Task/x": (1, "Task/x"),
    "rules relese": (2, "did you mean release?"),
    "measures report nope": (1, "There is no measure 'nope'"),
    f"measures show {ODD}": (1, "There is no measure"),
    "measures report overdue --program nope": (1, "no program nope"),
    f"measures report overdue --program {ODD}": (1, "cannot be held"),
    "measures report overdue --from 9999-12-31": (1, "end of time"),
    "measures report all --as-of 0001-01-01T00:00:00Z": (1, "end of time"),
    "measures report all --from 2026-02-01 --to 2026-01-01": (2, "ends before it begins"),
    "measures report all --as-of noon": (1, "Not a FHIR dateTime"),
    "measures findings nope": (1, "There is no finding 'nope'"),
    "measures repair nope": (2, "nope"),
    "measures repair no-owner --limit -1": (2, "-1"),
    "measures repair no-owner --limit 0": (2, "0"),
    "measures repair no-owner --limit 1.5": (2, "1.5"),
    f"jobs retry {HUGE}": (1, "cannot be held"),
    "jobs retry x": (2, "invalid int"),
    "jobs retry 1.0": (2, "invalid int"),
    "jobs": (2, "ACTION"),
    "evidence x --program tcm": (1, "Patient/x"),
    f"evidence {ODD} --program tcm": (1, "cannot be held"),
    "evidence x": (2, "--program"),
    "evidence x --program nope": (1, "nope"),
    "plan regenerate CarePlan/": (2, "is not CarePlan/ID"),
    "plan regenerate Task/x": (2, "is not CarePlan/ID"),
    "plan regenerate CarePlan/x": (1, "There is no plan CarePlan/x"),
    f"plan regenerate CarePlan/{ODD}": (1, "cannot be held"),
    f"staff cap Practitioner/x {HUGE}": (1, "between 0 and"),
    "staff cap Practitioner/x": (2, "required"),
    "staff cap x 3": (1, "write Practitioner/ID"),
    f"staff back {HUGE}": (1, "cannot be held"),
    "staff away Practitioner/x --from 9999-12-31 --until 0001-01-01": (1, "must end after it begins"),
    "staff away Practitioner/x --from tomorrow": (2, "--from takes a time"),
    f"staff away Practitioner/{ODD}": (1, "cannot be held"),
    "staff add --name x --role rn": (2, "is of an EHR (--connection, --fhir-user) or of a provider"),
    "staff add --name x --role rn --connection nope --fhir-user Practitioner/1": (1, "There is no connection nope"),
    f"staff add --name x --role rn --connection {ODD} --fhir-user Practitioner/1": (1, "cannot be held"),
    "staff add --name x --role rn --provider nope --subject a": (1, "Nobody is let in by 'nope' yet"),
    "staff disable": (2, "needs WHO"),
    f"staff disable {ODD}": (1, "Nobody has such an account"),
    "connection smart nope --issuer https://a.example --client-id x": (1, "There is no connection nope"),
    "connection smart nope --issuer https://a.example": (2, "--client-id"),
    "connection smart nope": (1, "Nobody is let in by 'nope' yet"),
    "login-provider add Ü --issuer https://a.example --client-id x": (2, "1 to 20"),
    "login-provider remove nope": (1, "Nobody is let in by 'nope' yet"),
    f"notifications retry {HUGE}": (1, "cannot be held"),
    "notifications list --state lost": (2, "lost"),
    "worker --once extra": (2, "unrecognized"),
    "worker --onc": (2, "unrecognized"),
}
NOTHING_TO_DO: Final = {
    "rules release": "The brake is not on.",
    "rules release --program nope": "The brake is not on.",
    "rules poisoned": "no item is put off",
    "rules poisoned --release --program nope": "no item is put off",
    "rules replay --as-of 9999-12-31T23:59:59Z": "Nothing was wanted then",
    "rules replay --as-of 0001-01-01T00:00:00Z": "Nothing was wanted then",
    "jobs list": "no job waits",
    "jobs retry": "0 of the dead jobs wait again",
    "jobs retry 1 2 3": "0 of the dead jobs wait again",
    "jobs retry -- -1": "0 of the dead jobs wait again",
    "measures findings": "FINDING",
    "measures repair no-owner --dry-run": "Nothing to repair.",
    "staff absences": "nobody is away",
    "staff list": "nobody may come in yet",
    "login-provider list": "no provider yet",
    "program diff tcm tcm:1": "no differences",
    "program dry-run tcm --since 99999d": "would have escalated 0 times",
    "program dry-run tcm --until 9999-12-31T23:59:59Z --patients 1": "would have escalated 0 times",
    "worker --once --no-beat": "",
}

TOLD_AS_JSON: Final = (
    "jobs list",
    "jobs retry",
    "rules release",
    "rules poisoned",
    "rules replay --as-of 2026-03-10T21:00:00Z",
    "measures list",
    "measures show overdue",
    "measures report all",
    "measures findings",
    "measures repair no-due",
    "program list",
    "program show tcm",
    "program history",
    "program diff tcm",
    "program dry-run tcm",
    "program migrate-plans tcm --dry-run",
    "staff show",
    "staff absences",
    "staff list",
    "login-provider list",
    "notifications list",
)


@pytest.fixture
def run(ready_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on the test's database, in an empty folder: exit code, output, errors. A crash raises."""
    without_settings(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Answer:
        capsys.readouterr()
        try:
            code = main(["--database", ready_url, *words])
        except SystemExit as error:
            code = int(str(error.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def faults(line: str, wanted: tuple[int, str], found: Answer) -> list[str]:
    """What is wrong with the answer to a command that cannot do what it is asked."""
    code, out, err = found
    wrong = [] if code == wanted[0] else [f"answers {code}, not {wanted[0]}"]
    wrong += [] if wanted[1] in err else [f"does not say {wanted[1]!r} but {err!r}"]
    wrong += ["prints on standard output"] if out else []
    lines = err.splitlines()
    wrong += [] if all(one.startswith("fhir-tracker") for one in lines) and lines else ["says it without our name"]
    wrong += ["says it in many lines"] if len(lines) > 2 else []
    wrong += ["drives the terminal"] if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", err) else []
    return [f"{line[:80]}: {one}" for one in wrong]


@pytest.mark.parametrize("table", [NOWHERE, OTHERS], ids=["programs", "others"])
def test_what_cannot_be_done_is_one_line_and_the_documented_code(run: Run, table: dict[str, tuple[int, str]]) -> None:
    wrong = [one for line, wanted in table.items() for one in faults(line, wanted, run(*line.split(" ")))]
    assert not wrong, "\n".join(wrong)


def test_where_there_is_nothing_to_do_it_says_so_and_answers_0(run: Run) -> None:
    for line, said in NOTHING_TO_DO.items():
        code, out, err = run(*line.split(" "))
        assert (code, err) == (0, ""), line
        assert said in out, line


def test_json_on_standard_output_is_one_value_and_nothing_else(run: Run) -> None:
    for line in TOLD_AS_JSON:
        code, out, err = run(*line.split(), "--json")
        assert (code, err) == (0, ""), line
        assert json.loads(out) is not None
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), line


def test_what_an_ehr_calls_people_and_work_drives_no_terminal(run: Run, database: Database) -> None:
    """Names with escapes, C1 controls and marks that turn the direction of writing, in every command that shows them."""
    evil = "Ann\x9b2J\u202eyag\x1b]0;owned\x07\r\nroot"
    clinic = Clinic(database, RING.replace("title: First call", f"title: {json.dumps('Call ' + chr(0x202E) + 'back')}"))
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    clinic.put(practitioner("ann") | {"name": [{"text": evil, "family": evil}]}, MONDAY)
    clinic.put(role("ann"), MONDAY)
    staffing.keep_owned(database, MONDAY)
    clinic.sweep(MONDAY + timedelta(days=9))
    call = clinic.task("ann", "first-call").ref
    told = ""
    for line in (
        "staff show",
        "staff away Practitioner/ann --until 9999-01-01",
        "staff absences",
        f"rules explain {call}",
        f"rules replay --as-of 2026-03-18T14:00:00Z {call}",
        "program list",
        "program show ring --words",
        "program diff ring ring:1",
        "program dry-run ring --since 9999d",
        "measures report all",
        "measures findings",
        f"plan regenerate {next(one.ref for one in clinic.items('ann') if one.kind == 'plan')}",
        "evidence ann --program ring --month 2026-03",
    ):
        code, out, err = run(*line.split(" "))
        assert code in (0, 1), (line, err)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out + err), (line, out)
        assert not any(one.startswith("root") for one in out.splitlines()), line
        told += out
    assert "Ann" in told
    assert "Call" in told


def test_messages_that_cannot_go_are_told_one_a_line_with_the_reason(run: Run, database: Database) -> None:
    with database.begin() as tx:
        for channel in ("email", "webhook"):
            notifications.add(
                tx,
                to_role="rn",
                to_person=None,
                channel=channel,
                subject="Task/a",
                patient="ann",
                text="Late",
                at=MONDAY,
            )
    assert run("worker", "--once")[0] == 0
    code, out, err = run("notifications", "retry")
    assert (code, err) == (1, "")
    *lines, total = out.splitlines()
    assert total == "2 tried, 2 left"
    assert sorted(re.sub(r"^[0-9]+ ", "", one)[:13] for one in lines) == ["email to rn: ", "webhook to rn"]
    assert all("Not set: FHIR_TRACKER_" in one for one in lines)
    assert run("notifications", "retry", "99999999")[0] == 1


def test_reasons_and_names_that_no_text_can_hold_are_refused_and_change_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(starter_programs()["tcm"].replace("30 days", "31 days", 1), encoding="utf-8")
    for words in (("--reason", f"late{ODD}"), ("--by", f"Practitioner/{ODD}")):
        code, out, err = run("program", "publish", "new.yaml", *words)
        assert (code, out) == (1, ""), err
        assert err.startswith("fhir-tracker: ")
    assert [one["version"] for one in json.loads(run("program", "history", "tcm", "--json")[1])] == [1]


def test_a_file_is_checked_whatever_its_name_and_whatever_the_terminal_can_show(tmp_path: Path) -> None:
    """In a process of its own, for the standard output of a test can show everything."""
    odd, text = tmp_path / f"plan{ODD}ü.yaml", starter_programs()["tcm"].replace("title: ", "title: Überleitung ", 1)
    odd.write_text(text, encoding="utf-8")
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path / "share"), "PYTHONUTF8": "0"}
    for encoding in ("ascii", "utf-8"):
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", "program", "validate", str(odd)],
            capture_output=True,
            timeout=300,
            check=False,
            env=environment | {"PYTHONIOENCODING": encoding},
        )
        assert (done.returncode, b"mistake in the program" in done.stderr) == (0, False), done.stderr
        assert b"berleitung" in done.stdout


def test_a_reader_that_goes_away_is_no_mistake_of_ours(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path / "share")}
    words = [sys.executable, "-m", "api.cli", "measures", "list", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=120) == 1
    assert said == b""


def test_a_table_never_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "WHY"), [(f"Ann{ESCAPE}", "one\ntwo\r\x9b31m"), ("Ben\u202e", None)])
    out = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert len(out.splitlines()) == 3


def test_lines_of_other_peoples_words_never_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([f"Call {ESCAPE}Ann", "two\nlines", "Zoë \U0001f600"])
    print_lines([])
    assert capsys.readouterr().out == "Call \ufffd[2JAnn\ntwo lines\nZoë \U0001f600\n"


def test_what_is_no_character_of_the_terminal_is_written_out() -> None:
    """The way of `main` with its streams, tried on one."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    show_everything(stream)
    print(f"Zoë \u2013 {ODD}", file=stream, flush=True)
    assert stream.buffer.getvalue() == b"Zo\xeb \\u2013 \\udcff\n"
