"""Which way a type is followed, by what is known of the server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from fhir_tracker.errors import UsageError
from mappings import Hint
from subscriptions.strategies import Choice, Facts, Probe, choice_from, choose, needs_probe
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.tracker import Tracker

LISTED = frozenset({"_lastUpdated", "patient"})
UNLISTED = frozenset({"patient"})
HINT = Hint(strategy="roster", why="the vendor says so", query="category=assess-plan")


@pytest.mark.requirement(78)
@pytest.mark.parametrize(
    ("type_", "facts", "strategy", "why"),
    [
        ("Task", Facts(searchable=True, parameters=LISTED), "last_updated", "lists _lastUpdated"),
        ("Task", Facts(searchable=None), "last_updated", "cannot be read"),
        ("Task", Facts(searchable=False), "none", "does not search it"),
        ("Task", Facts(searchable=False, asked_for=True), "last_updated", "you asked for it"),
        ("Task", Facts(searchable=True, parameters=UNLISTED), "last_updated", "could not be probed"),
        ("Task", Facts(searchable=True, parameters=UNLISTED, probe=Probe.HONOURED), "last_updated", "probe showed"),
        ("Task", Facts(searchable=True, parameters=UNLISTED, probe=Probe.IGNORED), "last_updated", "ignores"),
        (
            "Task",
            Facts(searchable=True, parameters=UNLISTED, probe=Probe.REFUSED),
            "last_updated",
            "everything is read",
        ),
        ("Task", Facts(searchable=True, parameters=UNLISTED, probe=Probe.NEEDS_MORE), "roster", "must name a patient"),
        ("Patient", Facts(searchable=True, probe=Probe.NEEDS_MORE), "roster", "by its id"),
        ("Location", Facts(searchable=True, probe=Probe.NEEDS_MORE), "launch", "when a page needs it"),
        (
            "Task",
            Facts(searchable=True, parameters=LISTED, probe=Probe.NEEDS_MORE),
            "last_updated_patient",
            "since when",
        ),
        ("Patient", Facts(searchable=True, parameters=LISTED, probe=Probe.NEEDS_MORE), "roster", "by its id"),
        (
            "Appointment",
            Facts(searchable=True, parameters=frozenset({"location", "date"}), probe=Probe.NEEDS_MORE),
            "windowed",
            "name a location",
        ),
        ("CarePlan", Facts(searchable=True, parameters=LISTED, hint=HINT), "roster", "the vendor says so"),
        ("CarePlan", Facts(searchable=True, hint=HINT, override="bulk"), "bulk", "you chose it"),
        ("CarePlan", Facts(searchable=True, override="roster?category=x"), "roster", "you chose it"),
    ],
)
def test_each_server_is_followed_in_the_way_it_bears_and_the_reason_is_told(
    type_: str, facts: Facts, strategy: str, why: str
) -> None:
    choice = choose(type_, facts)
    assert choice.strategy == strategy
    assert why in choice.why
    assert choice_from(choice.as_detail()) == choice


@pytest.mark.parametrize("told", ["roaster", "", "windowed", "roster?", "roster?category"])
def test_a_strategy_that_is_none_is_a_usage_mistake(told: str) -> None:
    if told in ("", "roster?"):
        assert choose("CarePlan", Facts(searchable=True, parameters=LISTED, override=told)).query == ""
        return
    with pytest.raises(UsageError):
        choose("CarePlan", Facts(searchable=True, override=told))


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        (Facts(searchable=True, parameters=UNLISTED), True),
        (Facts(searchable=True, parameters=LISTED), False),
        (Facts(searchable=True, parameters=UNLISTED, probe=Probe.IGNORED), False),
        (Facts(searchable=True, hint=HINT), False),
        (Facts(searchable=True, override="roster"), False),
        (Facts(searchable=False), False),
        (Facts(searchable=None), False),
    ],
)
def test_a_server_is_only_probed_about_what_is_not_known(facts: Facts, asked: bool) -> None:
    assert needs_probe(facts) is asked


@pytest.mark.parametrize(
    ("status", "rows", "plain", "showed"),
    [
        (200, 0, 200, "works"),
        (200, 1, 200, "ignores"),
        (400, 0, 200, "refuses"),
        (400, 0, 403, "by its id"),
        (403, 0, 200, "none of it"),
    ],
)
def test_a_probe_shows_what_the_server_does_with_a_search_it_does_not_list(
    tracker: Tracker, ehr: FakeEhr, status: int, rows: int, plain: int, showed: str
) -> None:
    def twisted(request: httpx.Request) -> httpx.Response | None:
        url = str(request.url)
        if url.endswith("/metadata"):
            told = ehr._metadata()
            told["rest"][0]["resource"][0]["searchParam"] = []
            return ehr.json(told)
        if "ge2999" in url:
            row = '{"resource": {"resourceType": "Patient", "id": "a"}}'
            return ehr.bundle([row] * rows) if status == 200 else httpx.Response(status)
        return httpx.Response(plain) if "_lastUpdated" not in url and plain != 200 and "Patient?" in url else None

    ehr.twists.append(twisted)
    tracker.sync()
    choice = tracker.choice("Patient")
    assert showed in choice.why
    tracker.sync()
    assert sum("ge2999" in url for url in ehr.requests) == 1


def test_a_choice_that_is_kept_comes_back_as_it_was() -> None:
    choice = Choice(strategy="windowed", why="so", query="a=b", days=True, actor="location")
    assert choice_from(choice.as_detail()) == choice


@pytest.mark.requirement(78)
@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_lists_time_and_wants_a_patient_all_the_same_is_asked_by_patient(
    tracker: Tracker, ehr: FakeEhr, status: int
) -> None:
    """As Oracle Health without a word of its mapping: the refusal of the first search leads to a probe, once."""
    tracker.connection = replace(tracker.connection, types=("Patient", "CarePlan"))

    def twisted(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/metadata"):
            told = ehr._metadata()
            told["rest"][0]["resource"][1]["searchParam"].append({"name": "patient"})
            return ehr.json(told)
        whole = request.url.path.endswith("/CarePlan") and "patient" not in request.url.params
        return httpx.Response(status) if whole else None

    ehr.twists.append(twisted)
    subject = {"reference": "Patient/a"}
    ehr.put("Patient", "a", active=True)
    ehr.put("CarePlan", "c", status="active", intent="plan", subject=subject)
    assert tracker.sync().complete
    assert tracker.choice("CarePlan").strategy == "last_updated_patient"
    assert tracker.held("CarePlan") == {"c"}
    ehr.pass_time(7200)
    tracker.now += timedelta(hours=2)
    ehr.put("CarePlan", "c", status="revoked", intent="plan", subject=subject)
    assert tracker.sync().complete
    found = tracker.find("c", "CarePlan")
    assert found is not None
    assert "revoked" in found.body
    assert sum("CarePlan?" in url and "ge2999" in url for url in ehr.requests) == 1


@pytest.mark.parametrize("status", [403, 404])
def test_a_type_that_we_may_not_search_is_an_error_and_asked_about_once(
    tracker: Tracker, ehr: FakeEhr, status: int
) -> None:
    """Asking patient by patient would hide it as long as there is no patient."""
    tracker.connection = replace(tracker.connection, types=("CarePlan",))
    ehr.twists.append(lambda request: httpx.Response(status) if "CarePlan" in str(request.url) else None)
    for _ in range(3):
        report = tracker.sync()
        assert [str(status) in str(one.error) for one in report.types] == [True]
    assert tracker.choice("CarePlan").strategy == "last_updated"
    assert sum("ge2999" in url for url in ehr.requests) == 1


@pytest.mark.requirement(78)
def test_a_server_whose_metadata_fail_later_is_followed_as_before(tracker: Tracker, ehr: FakeEhr) -> None:
    ehr.put("Patient", "a", active=True)
    assert tracker.sync().complete
    ehr.twists.append(lambda request: httpx.Response(500) if request.url.path.endswith("/metadata") else None)
    tracker.now += timedelta(hours=2)
    ehr.pass_time(7200)
    ehr.put("Patient", "b", active=True)
    assert tracker.sync().complete
    assert tracker.held() == {"a", "b"}
