"""What Prometheus is told: how the work and the following stand, by names that are few and never a person's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.context import Access
from api.metrics import WORKER_HEARTBEAT
from api.worker import HEARTBEAT
from fhir_tracker import clock, connections
from fhir_tracker.storage import cursors, heartbeats, jobs, quarantine
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.heartbeats import Heartbeat
from tests.api.conftest import Serve
from tests.api.fhir.talk import JSON
from tests.support.clinic import MONDAY, Clinic

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
HOUR = timedelta(hours=1)
# every family with its labels; a family or label that is not here is a decision to take
FAMILIES = {
    "http_requests": {"method", "route", "status"},
    "http_request_seconds": {"method", "route", "le"},
    "process_connections": {"process"},
    "process_requests": {"process"},
    "database_up": set[str](),
    "sync_lag_seconds": {"connection", "type"},
    "cursor_age_seconds": {"connection", "type"},
    "quarantine_size": set[str](),
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


@pytest.mark.security("L1")
def test_every_family_and_label_is_one_that_was_decided(serve: Serve, escalated: Clinic) -> None:
    with escalated.database.begin() as tx:
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
