"""An administrator at the pages that set things up, and what the trail says of that."""

from __future__ import annotations

import html
import json
import re
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy import text
from starlette.testclient import TestClient

from fhir_tracker import connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.storage import connections as stored_connections
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.database import Database
from tests.support.launched import Tab, launched, person

ISSUER = "https://north.example/fhir"
SECRET_KEY = "k" * 40
OTHER_ROLES = ("rn", "care-coordinator", "provider", "front-desk", "auditor")
"""Everybody but the clinic admin."""


def know_north(database: Database, now: datetime) -> None:
    """Follow the EHR `north`, and let its staff in."""
    with database.begin() as tx:
        if not stored_connections.find(tx, "north"):
            connections.add(tx, "north", ISSUER, now=now)
        if stored_issuers.find(tx, "north") is None:
            issuers.of_connection(tx, "north", Terms(url=ISSUER, client_id="tracker"), SECRET_KEY, now)


def tab_of(client: TestClient, database: Database, now: datetime, name: str, *roles: str) -> Tab:
    """Somebody of that EHR with these roles, who has launched."""
    return Tab(client, *launched(database, person(database, name, *roles, now=now), now))


def configured(database: Database) -> list[dict[str, Any]]:
    """The changes of configuration in the trail."""
    with database.read() as tx:
        rows = tx.connection.execute(text("SELECT who, ref, detail FROM audit WHERE action = 'configure' ORDER BY seq"))
        return [{"who": one.who, "ref": one.ref, **json.loads(one.detail)} for one in rows]


def wrong_at(answer: httpx.Response) -> dict[str, str]:
    """What a page says is wrong, by the name of the field that it stands beside; `""` for the whole of a form."""
    found = {}
    for match in re.finditer(r'<p class="error" id="([^"]+)-e">.*?<span>(.*?)</span></p>', answer.text, re.DOTALL):
        found[match[1].partition("-")[2]] = html.unescape(match[2])
    for match in re.finditer(r'<p class="error whole" role="alert"><svg.*?</svg>(.*?)</p>', answer.text, re.DOTALL):
        found[""] = html.unescape(match[1]).strip()
    return found
