"""Secrets of sessions stay where they belong: in no log, no address, no trail; and the script keeps nothing."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from importlib.resources import files
from typing import Any

import pytest

from api.context import Access
from api.limits import FAILURES
from api.staff import cookies
from fhir_tracker import staff_sessions
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import audit
from tests.api.conftest import Serve
from tests.api.staff.conftest import late
from tests.support.clinic import Clinic
from tests.support.launched import Tab, launched, person

SCRIPT = files("api.staff").joinpath("static", "pages.js").read_text()


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


@pytest.mark.security("S18", "S53", "L1")
@pytest.mark.requirement(97)
def test_no_secret_of_a_session_is_in_a_log_a_header_or_the_trail(
    serve: Serve, clinic: Clinic, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    late(clinic, now, "rosa")
    client = serve(Access.LOCKED)
    nurse = person(clinic.database, "nurse", "rn", "care-coordinator", now=now)
    tab = Tab(client, *launched(clinic.database, nurse, now))
    with clinic.database.begin() as tx:
        ticket = staff_sessions.ticket(tx, tab.session, "/open", now)
    secrets = {tab.secret, tab.handle, ticket}
    arrival = client.get(f"/t/{ticket}")
    handle = re.search(r'name="tracker-handle" content="([^"]+)"', arrival.text)
    assert handle
    secrets |= {handle[1], arrival.headers["set-cookie"].partition("=")[2].partition(";")[0]}
    answers: list[Any] = [tab.get(page) for page in ("/", "/patients/rosa", "/operations", "/nowhere", "/session")]
    tab.has_cookies = False
    answers += [tab.get("/"), tab.post("/stay"), tab.post("/find", {"q": "rosa"}), tab.get("/tasks/%00")]
    secrets.add(tab.csrf)
    answers += [client.get(f"{tab.prefix}/", headers={"X-Launch-Handle": tab.handle[:-1]}), tab.post("/logout")]
    told = "\n".join(str(vars(record)) for record in caplog.records if "httpx" not in record.name)
    with clinic.database.begin() as tx:
        told += "\n".join(map(str, audit.list(tx, worker_viewer("auditor"))))
    told += "\n".join(str(answer.headers) for answer in answers)
    told += (
        "\n".join(answer.text for answer in answers)
        .replace(f'value="{tab.csrf}"', "")
        .replace(f'data-csrf="{tab.csrf}"', "")
    )
    assert "/l/{launch}" in told, "the log tells of requests"
    assert not [one for one in secrets if one in told]


@pytest.fixture
def nurses(serve: Serve, clinic: Clinic, now: datetime) -> Tab:
    """A launch of a nurse, without a patient."""
    nurse = person(clinic.database, "nurse", "rn", now=now)
    return Tab(serve(Access.LOCKED), *launched(clinic.database, nurse, now))


def told_of(clinic: Clinic) -> list[audit.AuditRow]:
    with clinic.database.begin() as tx:
        return list(audit.list(tx, worker_viewer("auditor"), limit=1000))


@pytest.mark.security("B1", "S52", "S14")
@pytest.mark.parametrize("by", ["cookie", "handle"])
def test_who_shows_a_secret_of_another_launch_is_in_the_trail(nurses: Tab, clinic: Clinic, by: str) -> None:
    shown = (
        {"Cookie": f"{cookies.name_of(nurses.session.id)}=guessed"}
        if by == "cookie"
        else {"X-Launch-Handle": "guessed"}
    )
    for _ in range(2):
        assert nurses.client.get(f"{nurses.prefix}/", headers=shown).status_code == 401
    told = [one for one in told_of(clinic) if one.action == "denied"]
    assert [(one.who, one.session, one.outcome, one.detail["why"]) for one in told] == [
        ("nobody", nurses.session.id, "denied", "secret")
    ] * 2
    assert "guessed" not in repr(told)


@pytest.mark.security("B1")
def test_who_shows_nothing_or_means_no_launch_leaves_no_row(nurses: Tab, clinic: Clinic) -> None:
    nurses.client.get(f"{nurses.prefix}/")
    nurses.client.get("/l/unknown/", headers={"X-Launch-Handle": "guessed"})
    assert [one for one in told_of(clinic) if one.action == "denied"] == []


@pytest.mark.security("S56", "M3")
def test_guessing_secrets_of_a_launch_is_slowed_and_its_person_is_not(nurses: Tab, clinic: Clinic) -> None:
    answers = [
        nurses.client.get(f"{nurses.prefix}/", headers={"X-Launch-Handle": str(n)}) for n in range(FAILURES + 20)
    ]
    assert {one.status_code for one in answers} == {401, 429}
    assert int(answers[-1].headers["retry-after"]) >= 1
    rows = [one for one in told_of(clinic) if one.action == "denied"]
    assert len(rows) == sum(one.status_code == 401 for one in answers)
    assert nurses.get("/").status_code == 200


@pytest.mark.security("S18", "L3")
@pytest.mark.parametrize(
    "word",
    [
        *("localStorage", "indexedDB", "document.cookie", "serviceWorker", "innerHTML", "outerHTML", "document.write"),
        *("insertAdjacentHTML", "eval(", "new Function", "postMessage", "http://", "https://", "window.name"),
    ],
)
def test_the_script_keeps_nothing_and_makes_nothing_out_of_text(word: str) -> None:
    assert word not in SCRIPT


@pytest.mark.security("S18", "L3")
def test_all_that_the_script_leaves_in_a_tab_is_which_row_was_pressed() -> None:
    kept = re.findall(r"\bkeep\((.*)\);", SCRIPT)
    assert kept == ["MARK, String(rows().indexOf(row))"]
    assert SCRIPT.count("sessionStorage") == 3


@pytest.mark.security("S18", "S21")
def test_the_handle_is_sent_as_a_header_and_in_no_other_way() -> None:
    assert re.findall(r"\[HANDLE\]: (\w+)", SCRIPT) == ["handle"]
    used = [line for line in SCRIPT.splitlines() if re.search(r"\bhandle\b", line)]
    assert not [line for line in used if re.search(r"\$\{handle|\+ handle|handle \+|dataset\.handle|Storage", line)]
