"""Between a page and its form the session may end, by time, by hand or by others: then nothing is done, not even by half."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.context import Access
from api.staff import cookies
from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.roles import built_in
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.staff.conftest import late
from tests.support.clinic import Clinic
from tests.support.launched import Tab, launched

IDLE = timedelta(minutes=15)


@pytest.fixture
def client(serve: Serve, clinic: Clinic, now: datetime) -> TestClient:
    """rosa is late."""
    late(clinic, now, "rosa")
    return serve(Access.LOCKED)


@pytest.fixture
def tab(client: TestClient, clinic: Clinic, nurse: Account, now: datetime) -> Tab:
    """The nurse, whose EHR is a connection of the practice."""
    with clinic.database.begin() as tx:
        connections.add(tx, "north", "https://ehr.example.org/fhir", now=now)
        terms = Terms(url="https://ehr.example.org/fhir", client_id="tracker")
        issuers.of_connection(tx, "north", terms, "k" * 40, now)
    return Tab(client, *launched(clinic.database, nurse, now))


def moved(tab: Tab, database: Database, **moments: datetime) -> None:
    """Put the moments of the session elsewhere, as if time had passed."""
    with database.begin() as tx:
        values = {name: int(at.timestamp() * 1_000_000) for name, at in moments.items()}
        told = ", ".join(f"{name} = :{name}" for name in values)
        tx.connection.execute(text(f"UPDATE launch_session SET {told} WHERE id = :id"), values | {"id": tab.session.id})


def idle(tab: Tab, database: Database, now: datetime) -> None:
    moved(tab, database, active_at=now - IDLE - timedelta(seconds=1))


def over(tab: Tab, database: Database, now: datetime) -> None:
    moved(tab, database, ends_at=now - timedelta(seconds=1))


def left(tab: Tab, database: Database, now: datetime) -> None:
    assert tab.post("/logout").status_code == 200


def refused_renewal(tab: Tab, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        kept.end(tx, tab.session.id, now, "relaunch")


def disabled(tab: Tab, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        accounts.disable(tx, tab.session.account, now)


def removed(tab: Tab, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        assert issuers.remove(tx, "north", now)


def other_role(tab: Tab, database: Database, now: datetime) -> None:
    with database.begin() as tx:
        accounts.change_roles(tx, tab.session.account, ["auditor"], known=built_in(), now=now)


ENDS: tuple[tuple[Callable[..., None], int, str], ...] = (
    (idle, 401, "Nobody did anything"),
    (over, 401, "as long as one may"),
    (left, 401, "This session has ended"),
    (refused_renewal, 401, "This session has ended"),
    (disabled, 401, "does not let you in any more"),
    (removed, 401, "This session has ended"),
    (other_role, 403, "Not allowed"),
)


@pytest.mark.security("A6", "S50", "S48")
@pytest.mark.requirement(100)
@pytest.mark.parametrize(("change", "status", "said"), ENDS)
def test_a_form_that_comes_too_late_does_nothing(
    tab: Tab, clinic: Clinic, now: datetime, change: Callable[..., None], status: int, said: str
) -> None:
    call = clinic.task("rosa", "first-call").ref
    id_ = call.partition("/")[2]
    assert tab.get(f"/tasks/{id_}").status_code == 200
    tab.csrf = tab.token()
    before = (clinic.resource(call), clinic.log(call), clinic.stored("Communication", "Flag"))
    change(tab, clinic.database, clock.now())
    fields = {"note": "too late", "outreach.channel": "phone", "outreach.outcome": "reached", "code": "unreachable"}
    for step in (f"/tasks/{id_}/claim", f"/tasks/{id_}/attempt", f"/tasks/{id_}/note", "/patients/rosa/exceptions"):
        answer = tab.post(step, {**fields, "to": "reached"})
        assert (answer.status_code, said in answer.text) == (status, True), (step, answer.text)
        assert "rosa Synthetic" not in answer.text
    assert (clinic.resource(call), clinic.log(call), clinic.stored("Communication", "Flag")) == before
    if status == 401:
        for page in ("/", f"/tasks/{id_}", "/session", "/stay", "/tickets"):
            answer = tab.get(page) if page != "/stay" else tab.post(page)
            assert answer.status_code == 401, page


@pytest.mark.security("A6")
def test_who_does_nothing_cannot_be_kept_in_by_a_form_that_is_refused(tab: Tab, clinic: Clinic, now: datetime) -> None:
    tab.csrf = tab.token()
    idle(tab, clinic.database, clock.now())
    assert tab.post("/stay").status_code == 401
    assert tab.get("/").status_code == 401
    moved(tab, clinic.database, active_at=clock.now())
    assert tab.get("/").status_code == 401


@pytest.mark.security("A6", "S58")
@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=400), timedelta(days=-1), timedelta(days=-400)])
def test_a_clock_that_jumps_never_lets_a_session_last_longer_than_its_whole_time(
    tab: Tab, clinic: Clinic, now: datetime, jump: timedelta
) -> None:
    """What our clock says is earlier or later by `jump` from one request to the next."""
    session = tab.session
    moments = {"began": session.began, "active_at": session.active_at, "ends_at": session.ends_at}
    moved(tab, clinic.database, **{name: at - jump for name, at in moments.items()})
    assert tab.get("/help/keys").status_code == (401 if jump > timedelta() else 200)
    if jump < timedelta():
        assert tab.post("/stay").json()["left"] <= (session.ends_at - session.began - jump).total_seconds()


@pytest.mark.security("S14", "S21")
def test_nothing_that_a_browser_brings_along_becomes_a_session(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime
) -> None:
    """Fixation: an id, a secret or a handle of somebody's choosing opens nothing, before a login and after it."""
    planted = {"__Host-l-planted": "planted", "__Host-launching-0123456789abcdef": "x" * 43}
    shown = {"Cookie": "; ".join(f"{k}={v}" for k, v in planted.items()), "X-Launch-Handle": "planted"}
    assert client.get("/l/planted/", headers=shown).status_code == 401
    made = [launched(clinic.database, nurse, now) for _ in range(20)]
    for part in ([one[0].id for one in made], [one[1] for one in made], [one[2] for one in made]):
        assert len(set(part)) == len(made)
        assert min(map(len, part)) >= 24
    session, secret, handle = made[0]
    assert secret != handle
    for wrong in (session.secret_digest, session.handle_digest, session.id, handle):
        shown = {"Cookie": f"{cookies.name_of(session.id)}={wrong}"}
        assert client.get(f"/l/{session.id}/help/keys", headers=shown).status_code == 401


@pytest.mark.security("S21", "S22", "S19")
def test_what_belongs_to_one_session_is_nothing_in_another_in_any_mixture(
    client: TestClient, clinic: Clinic, nurse: Account, now: datetime
) -> None:
    mine, other = (Tab(client, *launched(clinic.database, nurse, now)) for _ in range(2))
    tokens = {one.session.id: one.token() for one in (mine, other)}
    path = f"/l/{mine.session.id}"
    foreign = (
        {"Cookie": f"{cookies.name_of(other.session.id)}={other.secret}"},
        {"Cookie": f"{cookies.name_of(mine.session.id)}={other.secret}"},
        {"X-Launch-Handle": other.handle},
        {"X-Launch-Handle": mine.secret[:-1]},
    )
    for shown in foreign:
        assert client.get(f"{path}/", headers=shown).status_code == 401
        data = {"csrf": tokens[mine.session.id], "density": "compact"}
        assert client.post(f"{path}/preferences", data=data, headers=shown).status_code == 401
    both = {"Cookie": f"{cookies.name_of(other.session.id)}={other.secret}", "X-Launch-Handle": mine.handle}
    for token, status in ((tokens[other.session.id], 403), (tokens[mine.session.id], 303)):
        data = {"csrf": token, "density": "comfortable"}
        answer = client.post(f"{path}/preferences", data=data, headers=both, follow_redirects=False)
        assert answer.status_code == status


ORIGINS: tuple[tuple[dict[str, str], bool], ...] = (
    ({}, True),
    ({"Origin": "http://testserver"}, True),
    ({"Origin": "http://TESTSERVER"}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True),
    ({"Origin": "null"}, False),
    ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, False),
    ({"Origin": "null", "Sec-Fetch-Site": "none"}, False),
    ({"Origin": "http://testserver:8080"}, False),
    ({"Origin": "http://testserver@evil.example"}, False),
    ({"Origin": "http://evil.example#testserver"}, False),
    ({"Origin": "testserver"}, False),
    ({"Origin": "file://"}, False),
    ({"Origin": "http://testserver, http://evil.example"}, False),
    ({"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"}, False),
    ({"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    ({"Sec-Fetch-Site": "Same-Origin"}, False),
    ({"Sec-Fetch-Site": "same-origin, cross-site"}, False),
)


@pytest.mark.security("S22")
def test_a_form_of_a_frame_without_an_origin_is_refused_with_what_the_frame_needs(tab: Tab) -> None:
    answer = tab.post("/preferences", {"density": "compact"}, {"Origin": "null", "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, "needs allow-same-origin" in answer.text) == (403, True)
    other = tab.post("/preferences", {"density": "compact"}, {"Origin": "https://evil.example"})
    assert (other.status_code, "allow-same-origin" in other.text) == (403, False)


@pytest.mark.security("S22")
@pytest.mark.requirement(100)
@pytest.mark.parametrize(("headers", "taken"), ORIGINS)
def test_a_form_counts_only_where_the_browser_says_nothing_else_than_that_it_is_ours(
    tab: Tab, headers: dict[str, str], taken: bool
) -> None:
    answer = tab.post("/preferences", {"density": "compact"}, headers)
    assert answer.status_code == (303 if taken else 403)
    assert ('data-density="compact"' in tab.get("/help/keys").text) is taken
