"""An EHR's own tokens at a tracker in a process of its own: each counts as far as the EHR says that it does when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from api.demo.simulator.app import SimulatedEhr
from api.demo.simulator.faults import NO_FAULTS, Faults
from api.demo.simulator.ledger import Context
from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.roles import built_in
from fhir_tracker.storage.database import Database
from tests.conformance.server import SECRET, Tracker, running_tracker
from tests.storage.samples import put_all
from tests.support.right_client import APP, Client
from tests.support.simulated_ehr import app_at, simulated_ehr

USER = "launch openid fhirUser offline_access user/*.rs"
PATIENT = "launch openid fhirUser offline_access patient/*.rs"
pytestmark = [pytest.mark.requirement(88), pytest.mark.security("S9", "A4")]


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatedEhr]:
    with simulated_ehr() as found:
        found.simulator.register(app_at(APP))
        found.simulator.register(
            app_at("http://127.0.0.1:8", "confidential-symmetric", client_id="tracker", secret="s p%")
        )
        yield found


@pytest.fixture
def ehr(shared: SimulatedEhr) -> Iterator[SimulatedEhr]:
    yield shared
    shared.simulator.faults = NO_FAULTS


@pytest.fixture(scope="module")
def tracker(shared: SimulatedEhr, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    """A tracker in a process of its own that takes the EHR's tokens; a nurse has an account, and two patients are mirrored."""
    folder, base = tmp_path_factory.mktemp("tracker"), shared.simulator.fhir_base
    url = f"sqlite:///{folder / 'tracker.db'}"
    with running_tracker(url, folder, "--no-worker") as server, closing(Database.open(url)) as database:
        terms = Terms(
            url=base, client_id="tracker", secret="s p%", introspection_url=shared.simulator.address("introspect")
        )
        now = clock.now()
        with database.begin() as tx:
            connections.add(tx, "clinic", base, now=now)
            issuers.of_connection(tx, "clinic", terms, SECRET, now)
            who: Any = {"known": built_in(), "now": now, "connection": "clinic"}
            accounts.add(tx, "Nora Nurse", ("rn",), fhir_user="Practitioner/nurse", **who)
        put_all(database, [{"resourceType": "Patient", "id": f"clinic-{one}"} for one in ("ada", "ben")])
        yield server


def ask(tracker: Tracker, token: str, path: str = "Patient") -> httpx.Response:
    shown = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{tracker.fhir}/{path}", headers=shown, timeout=60, trust_env=False)


def ids(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {one["resource"]["id"] for one in answer.json().get("entry", [])}


def told(ehr: SimulatedEhr, scope: str = USER) -> str:
    """A fresh access token of the nurse, given to another app."""
    return str(Client(ehr).let_in(Context(patient="ada"), scope=scope)["access_token"])


def questions(ehr: SimulatedEhr) -> int:
    return sum(one.endpoint == "introspect" for one in ehr.simulator.ledger.seen)


def test_an_active_token_lets_its_person_in_and_is_asked_about_once(tracker: Tracker, ehr: SimulatedEhr) -> None:
    token, before = told(ehr), questions(ehr)
    assert ids(ask(tracker, token)) == {"clinic-ada", "clinic-ben"}
    assert ask(tracker, token, "Patient/clinic-ben").status_code == 200
    assert questions(ehr) == before + 1
    assert ehr.simulator.violations == ()


def test_patient_scopes_open_the_one_patient_of_the_token(tracker: Tracker, ehr: SimulatedEhr) -> None:
    token = told(ehr, PATIENT)
    assert ids(ask(tracker, token)) == {"clinic-ada"}
    assert ask(tracker, token, "Patient/clinic-ada").status_code == 200
    assert ask(tracker, token, "Patient/clinic-ben").status_code == 404


def test_what_the_ehr_does_not_know_or_has_taken_back_opens_nothing(tracker: Tracker, ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    gone = client.let_in(Context(patient="ada"), scope=USER)
    client.revoke(gone["refresh_token"])
    for token in (str(gone["access_token"]), "made-up", gone["refresh_token"]):
        answer = ask(tracker, token)
        assert answer.status_code == 401
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert "invalid_token" in answer.headers["www-authenticate"]


def test_a_token_ends_here_when_it_ends_there_though_it_was_remembered(tracker: Tracker, ehr: SimulatedEhr) -> None:
    ehr.simulator.faults = Faults(token_life=3)
    token = told(ehr)
    assert ask(tracker, token).status_code == 200
    clock.pause(3.2)
    assert ask(tracker, token).status_code == 401


def test_what_was_taken_back_after_it_was_shown_counts_for_the_minute_that_it_is_remembered_and_no_more_is_granted(
    tracker: Tracker, ehr: SimulatedEhr
) -> None:
    client = Client(ehr)
    given = client.let_in(Context(patient="ada"), scope=PATIENT)
    token = str(given["access_token"])
    assert ids(ask(tracker, token)) == {"clinic-ada"}
    client.revoke(given["refresh_token"])
    client.revoke(token)
    before = questions(ehr)
    assert ids(ask(tracker, token)) == {"clinic-ada"}
    assert questions(ehr) == before


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"aud": "https://elsewhere.example/fhir"}, 401),
        ({"aud": ["https://elsewhere.example/fhir", 7]}, 401),
        ({"aud": {}}, 401),
        ({"exp": 1}, 401),
        ({"exp": "soon"}, 401),
        ({"active": False}, 401),
        ({"fhirUser": None}, 403),
        ({"fhirUser": "https://elsewhere.example/fhir/Practitioner/nurse"}, 403),
        ({"scope": None}, 403),
        ({"scope": ["user/*.rs"]}, 403),
        ({"patient": "../ben", "scope": PATIENT}, 403),
        ({"active": "true"}, 503),
        ({"active": None}, 503),
    ],
    ids=str,
)
def test_what_the_ehr_says_of_it_is_taken_at_its_word_and_odd_words_open_nothing(
    tracker: Tracker, ehr: SimulatedEhr, said: dict[str, object], status: int
) -> None:
    token = told(ehr)
    ehr.simulator.faults = Faults(introspection=said)
    answer = ask(tracker, token)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    ehr.simulator.faults = NO_FAULTS
    if status == 503:
        assert answer.headers["retry-after"]
        assert ask(tracker, token).status_code == 200, "nobody is shut out for good"


@pytest.mark.parametrize(
    "fault",
    [
        Faults(down=frozenset({"introspect"})),
        Faults(slow={"introspect": 11.0}),
        Faults(not_json=frozenset({"introspect"})),
        Faults(redirecting=frozenset({"introspect"})),
    ],
    ids=["down", "slow", "html", "elsewhere"],
)
def test_an_ehr_that_cannot_be_asked_opens_nothing_soon_and_is_asked_again(
    tracker: Tracker, ehr: SimulatedEhr, fault: Faults
) -> None:
    token, known = told(ehr), told(ehr)
    assert ask(tracker, known).status_code == 200
    ehr.simulator.faults = fault
    answer = ask(tracker, token)
    assert (answer.status_code, answer.json()["resourceType"]) == (503, "OperationOutcome")
    assert answer.headers["retry-after"]
    assert answer.elapsed.total_seconds() < 10.5
    assert ask(tracker, known).status_code == 200, "who is known goes on"
    ehr.simulator.faults = NO_FAULTS
    assert ask(tracker, token).status_code == 200
