"""Sessions of launches over HTTP: who gets in, what two tabs share (nothing), and when it ends."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.context import Access
from api.staff import cookies
from api.staff.entry import arrive
from api.staff.places import Place
from fhir_tracker import accounts, staff_sessions
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import EXCEPTIONS
from fhir_tracker.storage import audit, issuers
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from tests.api.conftest import Serve
from tests.api.staff.conftest import late
from tests.api.staff.markup import problems, tree
from tests.support.clinic import Clinic
from tests.support.contexts import context_of
from tests.support.launched import EHR, Tab, launched, person

IDLE = timedelta(minutes=15)
SECOND = timedelta(seconds=1)


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page and the session, not the database."""
    return one_file


@pytest.fixture
def client(serve: Serve, clinic: Clinic) -> TestClient:
    """A server that knows who comes in."""
    return serve(Access.LOCKED)


@pytest.fixture
def charts(client: TestClient, clinic: Clinic, nurse: Account, now: datetime) -> tuple[Tab, Tab]:
    """Two charts the nurse has open, with late work in each: rosa's and ivo's."""
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
    return (
        Tab(client, *launched(clinic.database, nurse, now, patient="rosa")),
        Tab(client, *launched(clinic.database, nurse, now, patient="ivo")),
    )


def backdated(database: Database, tab: Tab, **moments: Any) -> None:
    """Put the session's moments elsewhere, as if time had passed."""
    with database.begin() as tx:
        session = kept.find(tx, tab.session.id)
        assert session is not None
        changed = replace(session, id=f"{session.id}", **moments)
        tx.connection.exec_driver_sql("DELETE FROM launch_session WHERE id = ?", (session.id,))
        kept.add(tx, changed)


# --- who gets in


@pytest.mark.security("A1", "S21")
@pytest.mark.requirement(97)
@pytest.mark.parametrize("has_cookies", [True, False])
def test_a_secret_that_fits_opens_the_pages(tab: Tab, has_cookies: bool) -> None:
    tab.has_cookies = has_cookies
    page = tab.get("/")
    assert page.status_code == 200
    assert "Nurse Synthetic" in page.text
    assert tab.post("/preferences", {"density": "compact"}).status_code == 303
    assert 'data-density="compact"' in tab.get("/").text


@pytest.mark.security("A1", "S14", "S21")
@pytest.mark.parametrize("page", ["/", "/open", "/tasks/x", "/pulse", "/session", "/nowhere", "/logout"])
def test_without_the_secret_there_is_no_page(client: TestClient, tab: Tab, page: str) -> None:
    name = cookies.name_of(tab.session.id)
    attempts: list[dict[str, str]] = [
        {},
        {"Cookie": f"{name}="},
        {"Cookie": f"{name}={tab.secret[:-1]}"},
        {"Cookie": f"{name}={tab.session.secret_digest}"},
        {"Cookie": f"l-{tab.session.id}={tab.secret}"},
        {"Cookie": f"__Host-l-other={tab.secret}"},
        {"X-Launch-Handle": ""},
        {"X-Launch-Handle": tab.session.handle_digest},
        {"X-Launch-Handle": tab.handle + "x"},
        {"Authorization": f"Bearer {tab.handle}"},
    ]
    for headers in attempts:
        answer = client.get(tab.prefix + page, headers=headers, follow_redirects=False)
        assert answer.status_code == 401, headers
        assert "Nurse" not in answer.text
        assert "set-cookie" not in answer.headers
    for query in (f"?handle={tab.handle}", f"?X-Launch-Handle={tab.handle}", f"?secret={tab.secret}"):
        assert client.get(tab.prefix + page + query, follow_redirects=False).status_code == 401


@pytest.mark.security("S14")
@pytest.mark.parametrize("launch", ["x", "..", "%2e%2e", "a" * 3000, "%00", "'--", "é"])
def test_an_id_that_is_none_is_answered_as_any_unknown_one(client: TestClient, tab: Tab, launch: str) -> None:
    answer = client.get(f"/l/{launch}/tasks/x", headers=tab.shown, follow_redirects=False)
    assert answer.status_code == 401
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.security("S14", "S19")
@pytest.mark.requirement(97)
def test_the_secret_of_one_launch_opens_no_other(charts: tuple[Tab, Tab], client: TestClient) -> None:
    rosa, ivo = charts
    for headers in (
        {"Cookie": f"{cookies.name_of(ivo.session.id)}={rosa.secret}"},
        {"Cookie": f"{cookies.name_of(rosa.session.id)}={rosa.secret}"},
        {"X-Launch-Handle": rosa.handle},
    ):
        assert client.get(f"{ivo.prefix}/patients/ivo", headers=headers).status_code == 401


@pytest.mark.security("A2", "S50")
def test_a_disabled_account_is_out_at_the_next_request(tab: Tab, clinic: Clinic, nurse: Account, now: datetime) -> None:
    assert tab.get("/").status_code == 200
    with clinic.database.begin() as tx:
        accounts.disable(tx, nurse.id, now)
    answer = tab.get("/")
    assert answer.status_code == 401
    assert "does not let you in any more" in answer.text
    with clinic.database.begin() as tx:
        ended = kept.find(tx, tab.session.id)
    assert ended is not None
    assert ended.ended_at is not None, "it does not come back when the account does"


@pytest.mark.security("S50")
def test_changed_roles_count_at_the_next_request(tab: Tab, clinic: Clinic, nurse: Account, now: datetime) -> None:
    assert ">RN<" in tab.get("/help/keys").text
    with clinic.database.begin() as tx:
        accounts.change_roles(tx, nurse.id, ["front-desk"], known={"front-desk"}, now=now)
    page = tab.get("/help/keys").text
    assert ">RN<" not in page
    assert ">Front desk<" in page


# --- the cookie


@pytest.mark.security("S20")
@pytest.mark.requirement(97)
def test_the_cookie_is_for_this_host_only_in_frames_too_and_out_of_reach_of_scripts(
    tab: Tab, clinic: Clinic, now: datetime
) -> None:
    answer = arrive(context_of(clinic.database), tab.session, tab.secret, tab.handle, {}, now)
    (cookie,) = answer.headers.getlist("set-cookie")
    first, *attributes = cookie.split("; ")
    assert first == f"__Host-l-{tab.session.id}={tab.secret}"
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"} <= set(attributes)
    assert not [one for one in attributes if one.lower().startswith("domain")]
    assert f"Max-Age={12 * 3600}" in attributes


@pytest.mark.security("S18", "S21")
@pytest.mark.requirement(97)
def test_the_first_page_holds_the_handle_in_its_memory_only(tab: Tab, clinic: Clinic, now: datetime) -> None:
    answer = arrive(context_of(clinic.database), tab.session, tab.secret, tab.handle, {}, now)
    page = bytes(answer.body).decode()
    assert page.count(tab.handle) == 1
    assert f'<meta name="tracker-handle" content="{tab.handle}">' in page
    assert tab.secret not in page
    assert "no-store" in answer.headers["cache-control"]
    assert not [one for one in tree(page).walk() if tab.handle in one.attrs.get("href", "")]


def test_where_cookies_came_back_the_first_page_is_the_one_to_open(tab: Tab, clinic: Clinic, now: datetime) -> None:
    answer = arrive(context_of(clinic.database), tab.session, tab.secret, tab.handle, {}, now, has_cookies=True)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{tab.prefix}/open")
    assert tab.handle not in str(answer.headers)


def test_cookies_that_open_nothing_any_more_are_taken_back(
    tab: Tab, clinic: Clinic, nurse: Account, now: datetime
) -> None:
    old = [launched(clinic.database, nurse, now - timedelta(minutes=number))[0] for number in range(25)]
    with clinic.database.begin() as tx:
        staff_sessions.end(tx, old[0], now, "logout")
    held = {cookies.name_of(one.id): "x" for one in old} | {"__Host-l-gone": "x", "__Host-l-a b": "x", "other": "x"}
    with clinic.database.begin() as tx:
        for one in old:
            kept.touch(tx, one.id, now)
    answer = arrive(context_of(clinic.database), tab.session, tab.secret, tab.handle, held, now)
    taken = {one.partition("=")[0] for one in answer.headers.getlist("set-cookie") if "Max-Age=0" in one}
    oldest = [cookies.name_of(one.id) for one in old[21:]]
    assert taken == {"__Host-l-gone", cookies.name_of(old[0].id), *oldest}


# --- two charts


@pytest.mark.security("S19", "A4")
@pytest.mark.requirement(94, 97)
def test_two_charts_never_mix(charts: tuple[Tab, Tab]) -> None:
    rosa, ivo = charts
    for mine, other, name in ((rosa, ivo, "rosa"), (ivo, rosa, "ivo")):
        theirs = "ivo" if name == "rosa" else "rosa"
        both = {"Cookie": f"{mine.shown['Cookie']}; {other.shown['Cookie']}"}
        assert mine.get("/", both).headers["location"] == f"{mine.prefix}/patients/{name}"
        page = mine.get(f"/patients/{name}", both)
        assert f"{name} Synthetic" in page.text
        assert f"{theirs} Synthetic" not in page.text
        assert other.session.id not in page.text
        assert mine.get(f"/patients/{theirs}", both).status_code == 404


@pytest.mark.security("S19", "S41", "S49")
def test_a_tab_writes_to_its_own_patient_only(charts: tuple[Tab, Tab], clinic: Clinic) -> None:
    rosa, ivo = charts
    mine, theirs = (clinic.task(name, "first-call").ref for name in ("rosa", "ivo"))
    before = clinic.item(theirs)
    for page in (f"/tasks/{theirs.partition('/')[2]}/note", f"/tasks/{theirs.partition('/')[2]}/claim"):
        answer = rosa.post(page, {"note": "x"}, {"Cookie": f"{rosa.shown['Cookie']}; {ivo.shown['Cookie']}"})
        assert answer.status_code == 404
    assert rosa.post("/patients/ivo/exceptions", {"code": next(iter(EXCEPTIONS))}).status_code == 404
    assert clinic.item(theirs) == before
    assert rosa.post(f"/tasks/{mine.partition('/')[2]}/note", {"note": "x"}).status_code == 303


@pytest.mark.security("S19")
def test_the_form_of_one_chart_is_refused_in_the_other(charts: tuple[Tab, Tab], clinic: Clinic) -> None:
    rosa, ivo = charts
    task = clinic.task("ivo", "first-call").ref.partition("/")[2]
    assert rosa.token() != ivo.token()
    answer = ivo.post(f"/tasks/{task}/note", {"csrf": rosa.token(), "note": "x"})
    assert answer.status_code == 403


@pytest.mark.security("A4")
@pytest.mark.parametrize(
    "page", ["/?tab=all", "/operations", "/programs", "/sync", "/outbox", "/quarantine", "/pulse", "/connections/north"]
)
def test_a_chart_has_no_queues_and_no_places_of_the_practice(
    client: TestClient, clinic: Clinic, now: datetime, page: str
) -> None:
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
    admin = person(clinic.database, "admin", "clinic-admin", "rn", "care-coordinator", "auditor", now=now)
    rosa = Tab(client, *launched(clinic.database, admin, now, patient="rosa"))
    answer = rosa.get(page)
    assert answer.status_code in (303, 404)
    assert "ivo" not in answer.text
    assert answer.status_code == 404 or answer.headers["location"] == f"{rosa.prefix}/patients/rosa"
    assert rosa.post("/bulk", {"pick-x": "1"}).status_code == 404
    assert rosa.post("/find", {"q": "ivo"}).status_code == 404


@pytest.mark.requirement(94)
@pytest.mark.parametrize(("needed", "times"), [(True, 1), (False, 0)])
def test_a_chart_says_whose_it_is_unless_the_ehr_does(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime, needed: bool, times: int
) -> None:
    rosa = {"resourceType": "Patient", "id": "rosa", "name": [{"family": "Synthetic", "given": ["Rosa"]}]}
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}
    number = {"system": "urn:oid:1", "value": "4471", "type": {"coding": [coding]}}
    clinic.put({**rosa, "birthDate": "1948-03-09", "gender": "female", "identifier": [number]}, now)
    tab = Tab(client, *launched(clinic.database, nurse, now, patient="rosa", needs_banner=needed))
    for page in ("/help/keys", "/patients/nobody"):
        text = tab.get(page).text
        assert text.count('aria-label="Patient"') == times
        shown = [one for one in ("Rosa Synthetic", "1948", "4471", "<dt>Sex</dt>") if one in text]
        assert len(shown) == (4 if times else 0)
    assert tab.get("/patients/rosa").text.count('aria-label="Patient"') == 1


@pytest.mark.requirement(94)
def test_from_work_in_a_chart_the_way_back_is_the_chart(charts: tuple[Tab, Tab], clinic: Clinic) -> None:
    rosa = charts[0]
    page = rosa.get(f"/tasks/{clinic.task('rosa', 'first-call').ref.partition('/')[2]}")
    assert page.status_code == 200
    assert f'<a href="{rosa.prefix}/patients/rosa">← Patient</a>' in page.text
    assert "Queue" not in page.text


@pytest.mark.requirement(94)
def test_a_chart_that_is_not_here_yet_says_so_and_nobody_elses_does(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime
) -> None:
    """Who is restricted is answered in the same words, for they would tell else who is."""
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
    clinic.put({"resourceType": "Patient", "id": "hidden", "meta": {"security": [label]}}, now)
    desk = person(clinic.database, "desk", "front-desk", now=now)
    told = set()
    for who, patient in ((nurse, "unborn"), (desk, "unborn"), (desk, "hidden")):
        tab = Tab(client, *launched(clinic.database, who, now, patient=patient))
        page, other = tab.get(f"/patients/{patient}"), tab.get("/patients/somebody")
        assert (page.status_code, other.status_code) == (404, 404)
        assert "comes with the next sync" in page.text
        assert "comes with the next sync" not in other.text
        assert "There is no Patient/somebody." in other.text
        told.add(page.text.partition("<h1>")[2].partition("<code>")[0].replace(tab.prefix, ""))
    assert len(told) == 1


# --- what a launch opens


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    ("more", "page"),
    [
        ({}, "/"),
        ({"intent": "show-numbers"}, "/operations"),
        ({"intent": "work"}, "/"),
        ({"intent": "odd"}, "/"),
        ({"intent": "never-heard-of"}, "/"),
        ({"patient": "rosa"}, "/patients/rosa"),
        ({"patient": "rosa", "intent": "show-numbers"}, "/patients/rosa"),
        ({"fhir_context": ("Task/{rosa}",)}, "/tasks/{rosa}"),
        ({"fhir_context": ("Task/absent", "Task/{rosa}"), "intent": "show-numbers"}, "/tasks/{rosa}"),
        ({"patient": "rosa", "fhir_context": ("Task/{rosa}",)}, "/tasks/{rosa}"),
        ({"patient": "rosa", "fhir_context": ("Task/{ivo}",)}, "/patients/rosa"),
        ({"patient": "rosa", "fhir_context": ("Patient/ivo", "CarePlan/{ivo-plan}")}, "/patients/rosa"),
        ({"patient": "rosa", "fhir_context": ("CarePlan/{rosa-plan}",)}, "/patients/rosa#plan-{rosa-plan}"),
        ({"fhir_context": ("Observation/x", "Task/", "nonsense", "https://evil.example/Task/1")}, "/"),
    ],
)
def test_a_launch_opens_what_it_was_made_for(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime, more: dict[str, Any], page: str
) -> None:
    ids = {}
    for name in ("rosa", "ivo"):
        late(clinic, now, name)
        ids[name] = clinic.task(name, "first-call").ref.partition("/")[2]
        (plan,) = [one for one in clinic.items(name) if one.kind == "plan"]
        ids[f"{name}-plan"] = plan.ref.partition("/")[2]
    with clinic.database.begin() as tx:
        intents = {"show-numbers": "operations", "work": "queue", "odd": "nowhere"}
        url = f"{EHR}/fhir"
        issuers.save(tx, Issuer(key="north", url=url, client_id="c", options={"intents": intents}, changed_at=now))
    given = {**more}
    if "fhir_context" in more:
        given["fhir_context"] = tuple(one.format(**ids) for one in more["fhir_context"])
    tab = Tab(client, *launched(clinic.database, nurse, now, **given))
    assert tab.get("/open").headers["location"] == tab.prefix + page.format(**ids)


# --- forms


@pytest.mark.security("S22")
@pytest.mark.requirement(100)
@pytest.mark.parametrize("has_cookies", [True, False])
def test_a_form_from_elsewhere_is_refused(tab: Tab, has_cookies: bool) -> None:
    tab.has_cookies = has_cookies
    for fields in ({"csrf": ""}, {"csrf": "0" * 64}, {"csrf": tab.token()[:-1]}):
        assert tab.post("/preferences", {**fields, "density": "compact"}).status_code == 403
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": EHR},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver.evil.example"},
    ):
        for page in ("/preferences", "/stay", "/tickets", "/logout"):
            assert tab.post(page, headers=headers).status_code == 403, (page, headers)
    assert 'data-density="comfortable"' in tab.get("/").text
    for headers in ({"Origin": "http://testserver"}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}):
        assert tab.post("/stay", headers=headers).status_code == 200


@pytest.mark.security("S16")
@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil.example", "/l/other/"])
def test_a_form_leads_nowhere_but_into_its_own_launch(tab: Tab, back: str) -> None:
    answer = tab.post("/preferences", {"density": "compact", "back": back})
    assert answer.headers["location"].startswith(f"{tab.prefix}/")


# --- headers


@pytest.mark.security("S23")
@pytest.mark.requirement(100)
@pytest.mark.parametrize("page", ["/", "/help/keys", "/tasks/none", "/open", "/pulse", "/session", "/logout"])
def test_only_the_ehr_of_a_launch_may_frame_its_pages(tab: Tab, page: str) -> None:
    answer = tab.post(page) if page == "/logout" else tab.get(page)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["frame-ancestors"] == EHR
    assert policy["default-src"] == policy["form-action"] == "'self'"
    assert policy["object-src"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]


@pytest.mark.security("S23")
@pytest.mark.parametrize("path", ["/", "/login", "/l/x/", "/nowhere", "/t/x", "/tasks/x"])
def test_pages_of_nobody_are_framed_by_nobody(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 401
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.security("S23")
def test_without_origins_a_launch_is_framed_by_nobody(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime
) -> None:
    tab = Tab(client, *launched(clinic.database, nurse, now, framed_by=()))
    assert "frame-ancestors 'none'" in tab.get("/").headers["content-security-policy"]


def test_in_the_frame_it_was_for_an_ended_launch_says_so(tab: Tab) -> None:
    tab.post("/logout")
    answer = tab.get("/")
    assert answer.status_code == 401
    assert f"frame-ancestors {EHR}" in answer.headers["content-security-policy"]
    assert "open the tracker again from the chart" in answer.text


# --- addresses


@pytest.mark.parametrize("root", ["", "/care/tracker"])
def test_every_address_of_every_page_is_within_its_launch(
    client: TestClient, clinic: Clinic, now: datetime, root: str
) -> None:
    admin = person(clinic.database, "admin", "clinic-admin", "rn", "care-coordinator", now=now)
    late(clinic, now, "rosa")
    clinic.attempt(clinic.task("rosa", "first-call").ref, now - timedelta(minutes=5))
    tab = Tab(client, *launched(clinic.database, admin, now))
    todo, seen = ["/"], set[str]()
    while todo:
        page = todo.pop()
        seen.add(page)
        answer = tab.get(page)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith(tab.prefix)
            continue
        assert answer.status_code == 200, page
        assert problems(answer.text) == [], page
        for node in tree(answer.text).walk():
            for name, text in node.attrs.items():
                if not text.startswith("/"):
                    continue
                if name in ("href", "src") and text.startswith("/static/"):
                    continue
                if name in ("value", "data-here"):
                    assert not text.startswith("/l/"), "what is sent back is within the launch already"
                    continue
                assert text.startswith(f"{tab.prefix}/"), (page, node.tag, name, text)
                link = text.removeprefix(tab.prefix).partition("#")[0]
                plain = re.sub(r"[?&](back|said|after)=[^&]*", "", link)
                if node.tag == "a" and plain not in seen and len(seen) + len(todo) < 60:
                    todo.append(plain)
                    seen.add(plain)
    assert {"/operations", "/programs", "/sync", "/help/keys"} <= seen
    assert any(one.startswith("/tasks/") for one in seen)
    assert Place(root=root, launch="x").at("/tasks/1") == f"{root}/l/x/tasks/1"
    assert Place(root=root, launch="x").asset("/static/a") == f"{root}/static/a"
    assert Place(root=root).at("#main") == "#main"


# --- the end


@pytest.mark.security("A6")
@pytest.mark.requirement(97)
def test_who_does_nothing_for_the_idle_time_is_logged_off(tab: Tab, clinic: Clinic, now: datetime) -> None:
    backdated(clinic.database, tab, active_at=now - IDLE)
    answer = tab.get("/")
    assert answer.status_code == 401
    assert "Nobody did anything for a while" in answer.text
    backdated(clinic.database, tab, active_at=now)
    assert tab.get("/").status_code == 401, "what has ended stays ended"


@pytest.mark.security("A6")
def test_what_a_page_asks_by_itself_does_not_keep_a_session_alive(tab: Tab, clinic: Clinic, now: datetime) -> None:
    backdated(clinic.database, tab, active_at=now - timedelta(minutes=14))
    for page in ("/pulse", "/session"):
        assert tab.get(page).status_code == 200
    assert active_at(clinic.database, tab) == now - timedelta(minutes=14)
    assert 0 < tab.get("/session").json()["left"] <= 60
    assert tab.post("/stay").json()["left"] >= 895
    assert active_at(clinic.database, tab) >= now


@pytest.mark.security("A6")
def test_a_session_ends_after_its_whole_time_whatever_is_done_in_it(tab: Tab, clinic: Clinic, now: datetime) -> None:
    backdated(clinic.database, tab, ends_at=now + timedelta(seconds=100))
    assert 0 < tab.post("/stay").json()["left"] <= 100
    assert int(tree(tab.get("/").text).all("html")[0].attrs["data-left"]) <= 100
    backdated(clinic.database, tab, ends_at=now)
    assert "lasted as long as one may" in tab.get("/").text


@pytest.mark.security("A6")
@pytest.mark.parametrize(
    ("idle_for", "lasted", "why"),
    [
        (timedelta(0), timedelta(0), ""),
        (IDLE - SECOND, timedelta(0), ""),
        (IDLE, timedelta(0), "idle"),
        (timedelta(days=3), timedelta(0), "idle"),
        (timedelta(0), timedelta(hours=12) - SECOND, ""),
        (timedelta(0), timedelta(hours=12), "over"),
        (IDLE, timedelta(hours=12), "over"),
    ],
)
def test_when_a_session_stands(tab: Tab, now: datetime, idle_for: timedelta, lasted: timedelta, why: str) -> None:
    session = replace(tab.session, active_at=now - idle_for, ends_at=now + timedelta(hours=12) - lasted)
    assert staff_sessions.state_of(session, now, IDLE) == why
    assert (staff_sessions.left(session, now, IDLE) > timedelta()) is (why == "")
    assert staff_sessions.state_of(replace(session, ended_at=now, ended_why="logout"), now, IDLE) == "ended"


@pytest.mark.security("A6", "S18")
def test_logging_off_ends_the_session_and_leaves_its_tokens_to_be_given_back(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime
) -> None:
    more: dict[str, Any] = {"sealed_tokens": "sealed", "tokens_end": now + timedelta(hours=1)}
    tab = Tab(client, *launched(clinic.database, nurse, now, **more))
    other = Tab(client, *launched(clinic.database, nurse, now))
    answer = tab.post("/logout")
    assert answer.status_code == 200
    assert "You are logged off" in answer.text
    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    assert f"__Host-l-{tab.session.id}=; Max-Age=0" in answer.headers["set-cookie"]
    with clinic.database.begin() as tx:
        ended = kept.find(tx, tab.session.id)
    assert ended is not None
    assert (ended.ended_why, ended.sealed_tokens, ended.tokens_end) == ("logout", "sealed", None)
    assert tab.get("/").status_code == tab.get("/session").status_code == 401
    assert other.get("/").status_code == 200, "another chart goes on"


@pytest.mark.security("B1", "A6")
def test_each_end_is_in_the_trail_once(tab: Tab, clinic: Clinic, nurse: Account, now: datetime) -> None:
    backdated(clinic.database, tab, active_at=now - IDLE)
    for _ in range(3):
        tab.get("/")
    told = [one for one in trail(clinic.database) if one.action == "logout"]
    assert [(one.who, one.session, one.detail["why"]) for one in told] == [(nurse.ref, tab.session.id, "idle")]


@pytest.mark.security("B1", "A2")
def test_every_row_of_the_trail_says_which_person_of_which_ehr(tab: Tab, clinic: Clinic, nurse: Account) -> None:
    tab.get("/")
    rows = [one for one in trail(clinic.database) if one.session == tab.session.id]
    assert rows
    for one in rows:
        assert (one.who, one.issuer, one.client) == (nurse.ref, f"{EHR}/fhir", "tracker")


def active_at(database: Database, tab: Tab) -> datetime:
    with database.begin() as tx:
        session = kept.find(tx, tab.session.id)
    assert session is not None
    return session.active_at


def trail(database: Database) -> list[audit.AuditRow]:
    with database.begin() as tx:
        return list(audit.list(tx, worker_viewer("auditor")))


# --- what goes wrong


@pytest.mark.security("S34")
@pytest.mark.parametrize("path", ["/", "/tasks/x", "/session"])
def test_while_the_database_is_away_nobody_is_in_and_is_told_so(serve: Serve, tab: Tab, path: str) -> None:
    away = Tab(serve(Access.LOCKED, reached=False), tab.session, tab.secret, tab.handle)
    for answer in (away.get(path), away.client.get("/t/x")):
        assert answer.status_code == 503
        assert "The database cannot be reached now." in answer.text
        assert "retry-after" in answer.headers
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert away.client.get("/login").status_code == 401
