"""What Prometheus is told: how the work and the following stand, by names that are few and never a person's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.context import Access
from api.metrics import WORKER_HEARTBEAT
from api.worker import HEARTBEAT
from fhir_tracker import clock, connections
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import budgets, cursors, heartbeats, jobs, outbox, quarantine
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.heartbeats import Heartbeat
from subscriptions.budget import SharedBudget
from tests.api.conftest import Serve
from tests.api.fhir.talk import JSON
from tests.support.clinic import MONDAY, Clinic
from tests.support.followed import followed, open_circuit

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
HOUR = timedelta(hours=1)
# every family with its labels; a family or label that is not here is a decision to take
FAMILIES = {
    "http_requests": {"method", "route", "status"},
    "rate_limited": {"limit"},
    "http_request_seconds": {"method", "route", "le"},
    "process_connections": {"process"},
    "process_requests": {"process"},
    "database_up": set[str](),
    "jobs_dead": {"kind"},
    "poisoned_items": {"program"},
    "mass_escalation_brake": {"program"},
    "rule_asked_seconds": {"program", "rule"},
    "sync_lag_seconds": {"connection", "type"},
    "cursor_age_seconds": {"connection", "type"},
    "sync_complete_age_seconds": {"connection", "type"},
    "sync_missed_events": {"connection", "type"},
    "reconcile_age_seconds": {"connection"},
    "connection_age_seconds": {"connection"},
    "connection_state": {"connection", "state"},
    "quarantine_size": {"connection"},
    "inbox_size": {"connection"},
    "outbox_size": {"connection", "state"},
    "outbox_oldest_seconds": {"connection"},
    "subscription_state": {"connection", "type", "state"},
    "subscription_heard_age_seconds": {"connection", "type"},
    "subscription_gaps": {"connection", "type"},
    "subscription_resets": {"connection", "type"},
    "subscription_untold": {"connection", "type"},
    "circuit_state": {"connection", "state"},
    "budget_waits": {"connection"},
    "budget_wait_seconds": {"connection"},
    "job_oldest_seconds": {"kind"},
    "escalations": {"program", "rule", "level"},
    "rule_effects": {"program", "rule"},
    "rule_failures": {"program", "rule"},
    "rule_matches": {"program", "rule"},
    "worker_heartbeat_age_seconds": set[str](),
}


def samples(serve: Serve) -> Samples:
    text = serve(Access.OPEN).get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def labels_of(found: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for one, labels in found if one == name]


@pytest.fixture
def escalated(database: Database) -> Clinic:
    """Two patients whose first call is late: one rung up to level 1, one to level 2."""
    clinic = Clinic(database)
    for number, name in enumerate(("ann", "bob")):
        clinic.patient(name)
        clinic.discharge(name, MONDAY - number * 8 * HOUR)
    clinic.sweep(MONDAY + timedelta(days=2) + HOUR)
    return clinic


def test_ladder_levels_are_counted_by_program_rule_and_level(serve: Serve, escalated: Clinic) -> None:
    found = samples(serve)
    fired = [one for name in ("ann", "bob") for one in escalated.firings(escalated.task(name, "first-call").ref)]
    assert fired
    for level in {one.key.level for one in fired}:
        expected = sum(one.key.level == level and one.kind == "escalate" for one in fired)
        assert value(found, "escalations_total", program="ring", rule="late", level=str(level)) == expected
    assert sum(one for (name, _), one in found.items() if name == "escalations_total") == len(fired)
    assert (value(found, "rule_effects_total", program="ring", rule="late") or 0) >= len(fired)
    assert (value(found, "rule_matches_total", program="ring", rule="late") or 0) >= 1


def test_other_effects_are_not_escalations(serve: Serve, database: Database) -> None:
    with database.begin() as tx:
        heartbeats.note(
            tx, Heartbeat(program="ring", rule="missed", last_evaluated=MONDAY, matched=3, fired=2, failed=1)
        )
    found = samples(serve)
    assert labels_of(found, "escalations_total") == []
    assert value(found, "rule_effects_total", program="ring", rule="missed") == 2
    assert value(found, "rule_matches_total", program="ring", rule="missed") == 3
    assert value(found, "rule_failures_total", program="ring", rule="missed") == 1


def test_only_cursors_over_a_type_have_an_age(serve: Serve, database: Database) -> None:
    now = clock.now()
    with database.begin() as tx:
        connections.add(tx, "clinic", "http://127.0.0.1:9/fhir", now=now)
        for type_ in ("Patient", "*", "Patient/_history", "Task"):
            mark = now - HOUR if type_ != "Task" else None
            cursors.save(tx, Cursor(connection="clinic", type=type_, watermark=mark, updated_at=now - HOUR))
    found = samples(serve)
    assert {one["type"] for one in labels_of(found, "cursor_age_seconds")} == {"Patient", "Task"}
    assert [one["type"] for one in labels_of(found, "sync_lag_seconds")] == ["Patient"]
    assert 3600 <= (value(found, "sync_lag_seconds", connection="clinic", type="Patient") or 0) < 3660


def test_a_clock_that_is_ahead_gives_no_negative_lag(serve: Serve, database: Database) -> None:
    ahead = clock.now() + HOUR
    with database.begin() as tx:
        connections.add(tx, "clinic", "http://127.0.0.1:9/fhir", now=ahead)
        cursors.save(tx, Cursor(connection="clinic", type="Patient", watermark=ahead, updated_at=ahead))
        jobs.enqueue(tx, "push", "p1", {}, ahead)
    found = samples(serve)
    assert value(found, "sync_lag_seconds", connection="clinic", type="Patient") == 0
    assert value(found, "job_oldest_seconds", kind="push") == 0


def test_the_worker_is_heard_of_by_its_heartbeat(serve: Serve, database: Database) -> None:
    assert WORKER_HEARTBEAT == HEARTBEAT
    assert value(samples(serve), "worker_heartbeat_age_seconds") is None
    with database.begin() as tx:
        states.put(tx, HEARTBEAT, (clock.now() - HOUR).isoformat())
    assert 3600 <= (value(samples(serve), "worker_heartbeat_age_seconds") or 0) < 3660


@pytest.mark.security("L1")
def test_requests_are_counted_by_template_and_an_unknown_method_or_address_makes_no_new_label(serve: Serve) -> None:
    client = serve(Access.OPEN)
    for number in range(5):
        client.put(f"/fhir/Basic/b{number}", content=f'{{"resourceType":"Basic","id":"b{number}"}}', headers=JSON)
        client.get(f"/fhir/Basic/b{number}?name=secret{number}")
        client.get(f"/nowhere/secret{number}")
        client.get(f"/fhir/Secret{number}/x")
        client.request(f"BREW{number}", "/fhir/Basic")
    text = client.get("/metrics").text
    found = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "http_requests_total"
    }
    assert found["PUT", "/fhir/{type}/{id}", "400"] == 5
    assert found["GET", "/fhir/{type}/{id}", "404"] == 5
    assert found["OTHER", "/fhir/{type}", "405"] == 5
    assert {method for method, _, _ in found} == {"PUT", "GET", "OTHER"}
    assert len(found) <= 6
    assert "ecret" not in text
    assert "BREW" not in text


def test_each_connection_tells_how_it_is_followed_and_what_is_stuck(serve: Serve, database: Database) -> None:
    now = clock.now()
    with database.begin() as tx:
        followed(tx, now)
        open_circuit(tx, now)
    found = samples(serve)
    assert value(found, "sync_missed_events_total", connection="north", type="Patient") == 4
    assert value(found, "quarantine_size", connection="north") == 1
    assert value(found, "outbox_size", connection="north", state="dead") == 1
    assert value(found, "outbox_oldest_seconds", connection="north") == 0
    assert value(found, "subscription_state", connection="north", type="CarePlan", state="lost") == 1
    assert value(found, "subscription_state", connection="north", type="CarePlan", state="active") == 0
    assert value(found, "subscription_gaps_total", connection="north", type="Patient") == 2
    assert value(found, "circuit_state", connection="north", state="open") == 1
    assert value(found, "connection_state", connection="north", state="ok") == 1
    assert (value(found, "reconcile_age_seconds", connection="north") or 0) >= 3 * 3600
    assert value(found, "sync_complete_age_seconds", connection="north", type="Patient") is not None


def test_a_write_that_waits_has_an_age_and_what_is_set_aside_from_a_removed_ehr_is_counted(
    serve: Serve, database: Database
) -> None:
    old = clock.now() - HOUR
    with database.begin() as tx:
        followed(tx, old)
        (row,) = outbox.listed(tx, open_viewer())
        outbox.note(tx, row, state="waiting")
    assert 3600 <= (value(samples(serve), "outbox_oldest_seconds", connection="north") or 0) < 3700
    with database.begin() as tx:
        connections.remove(tx, "north")
    found = samples(serve)
    assert value(found, "quarantine_size", connection="north") == 1
    assert labels_of(found, "outbox_size") == []


def test_a_request_that_waits_for_the_budget_is_counted(serve: Serve, database: Database) -> None:
    now = clock.now()
    with database.begin() as tx:
        followed(tx, now)
        budgets.hold(tx, "north")
        budgets.save(tx, "north", {"until": instant(now + timedelta(seconds=20))})
    budget = SharedBudget(database, "north", None, lambda: now)
    for _ in range(2):
        assert round(budget.take()) == 20
        budget.served(200, None)
    found = samples(serve)
    assert value(found, "budget_waits_total", connection="north") == 2
    assert round(value(found, "budget_wait_seconds_total", connection="north") or 0) == 40


def test_every_family_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert [name for name in FAMILIES if f"`{name}" not in page] == []


@pytest.mark.security("L1")
def test_every_family_and_label_is_one_that_was_decided(serve: Serve, escalated: Clinic) -> None:
    with escalated.database.begin() as tx:
        followed(tx, MONDAY)
        connections.add(tx, "clinic", "http://127.0.0.1:9/fhir", now=MONDAY)
        cursors.save(tx, Cursor(connection="clinic", type="Patient", watermark=MONDAY, updated_at=MONDAY))
        jobs.enqueue(tx, "push", "p1", {}, MONDAY)
        told = {"connection": "clinic", "type_": "Patient", "remote_id": "ann", "reason": "r", "detail": "d"}
        quarantine.put(tx, **told, body="{}", at=MONDAY)
        states.put(tx, HEARTBEAT, MONDAY.isoformat())
    client = serve(Access.OPEN)
    client.get("/fhir/Patient/ann")
    text = client.get("/metrics").text
    families = {one.name: one for one in text_string_to_metric_families(text) if not one.name.endswith("_created")}
    assert set(families) == set(FAMILIES)
    for name, family in families.items():
        assert family.documentation
        assert {label for sample in family.samples for label in sample.labels} <= FAMILIES[name], name
    for secret in ("ann", "bob", "Synthetic", "stay-"):
        assert f'"{secret}' not in text


def test_numbers_of_one_server_are_its_own(serve: Serve) -> None:
    first, second = serve(Access.OPEN), serve(Access.OPEN)
    first.get("/fhir/Patient")
    assert 'route="/fhir/{type}"' in first.get("/metrics").text
    assert 'route="/fhir/{type}"' not in second.get("/metrics").text
