"""Alive, ready, and in numbers: for machines, without login or patient data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.context import Access
from fhir_tracker import clock, connections
from fhir_tracker.storage import cursors, jobs, quarantine
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve

NOW = clock.now()


@pytest.mark.parametrize("access", list(Access))
def test_anyone_may_ask(serve: Serve, access: Access) -> None:
    client = serve(access)
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    assert client.head("/livez").status_code == 200


def test_ready_says_how_each_part_stands(serve: Serve, database: Database) -> None:
    checks = serve(Access.OPEN).get("/readyz").json()["checks"]
    assert checks["database"] == {"status": "ok"}
    assert checks["schema"]["current"] == checks["schema"]["head"]
    assert checks["worker"]["status"] == "warn"
    with database.begin() as tx:
        states.put(tx, "worker-heartbeat", clock.now().isoformat())
    worker = serve(Access.OPEN).get("/readyz").json()["checks"]["worker"]
    assert worker["status"] == "ok"
    assert worker["ageSeconds"] < 30


def test_a_server_whose_own_worker_fell_silent_is_not_ready(serve: Serve, database: Database) -> None:
    client = serve(Access.OPEN, worker=True)
    with database.begin() as tx:
        states.put(tx, "worker-heartbeat", (clock.now() - timedelta(minutes=5)).isoformat())
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "fail")


def test_numbers_are_by_route_connection_and_type_and_never_by_id(serve: Serve, database: Database) -> None:
    client = serve(Access.OPEN)
    with database.begin() as tx:
        connections.add(tx, "clinic", "http://127.0.0.1:9/fhir", now=NOW)
        mark = NOW - timedelta(seconds=90)
        cursors.save(tx, Cursor(connection="clinic", type="Patient", watermark=mark, updated_at=mark))
        jobs.enqueue(tx, "push", "p1", {}, NOW - timedelta(seconds=60))
        told = {"connection": "clinic", "type_": "Patient", "remote_id": "secret-id", "reason": "r", "detail": "d"}
        quarantine.put(tx, **told, body="{}", at=NOW)
    client.get("/fhir/Patient/secret-id?name=Secretname")
    text = client.get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["database_up",] == 1
    assert found["quarantine_size", "clinic"] == 1
    assert found["sync_lag_seconds", "Patient", "clinic"] >= 90
    assert found["cursor_age_seconds", "Patient", "clinic"] >= 90
    assert found["job_oldest_seconds", "push"] >= 60
    assert found["http_requests_total", "/fhir/{type}/{id}", "404", "GET"] == 1
    assert "ecret" not in text


def test_without_a_database_it_lives_but_is_not_ready(serve: Serve, database: Database) -> None:
    client = serve(Access.OPEN, reached=False)
    assert client.get("/livez").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"]["status"] == "fail"
    assert "database_up 0.0" in client.get("/metrics").text
    refused = client.get("/fhir/Patient/p1")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "2"
    assert refused.json()["issue"][0]["code"] == "transient"
