"""Search pages of a made-up EHR, made as they are asked for: the time that takes is told, so that it does not count."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker.fhir.dates import instant
from subscriptions import EhrClient
from subscriptions.client import Answer
from tests.benchmarks.versus_hapi.stock import task

BASE = "http://ehr.example/fhir"
PAGE = 100
SHARES = {"Patient": 1, "CarePlan": 1, "Encounter": 3, "Appointment": 3, "Observation": 6, "Task": 6}
"""Pages of each type in one round; the patients of a round have everything else of it."""
ROUND = PAGE * sum(SHARES.values())
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
_NOTE = "Synthetic data for a benchmark; there is no such patient."


class Pages(EhrClient):
    """A client whose server is this process: the pages of one round after the other; `made` counts the seconds they took."""

    def __init__(self) -> None:
        super().__init__(BASE)
        self.round = 0
        self.made = 0.0
        self.size = 0

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        begun = time.perf_counter()
        address, _, query = url.removeprefix(f"{BASE}/").partition("?")
        page = int(query.partition("_page=")[2] or 0)
        body = self._page(address, page)
        self.size += len(body)
        answer = Answer(
            status=200, url=url, body=body, content_type="application/fhir+json", served_at=_moment(self.round + 1)
        )
        self.made += time.perf_counter() - begun
        return answer

    def _page(self, type_: str, page: int) -> bytes:
        first = self.round * SHARES[type_] * PAGE + page * PAGE
        stamp = instant(_moment(self.round))
        entries = [
            {
                "fullUrl": f"{BASE}/{type_}/{number}",
                "resource": made_up(type_, number, self.round, stamp),
                "search": {"mode": "match"},
            }
            for number in range(first, first + PAGE)
        ]
        links = [{"relation": "self", "url": f"{BASE}/{type_}?_lastUpdated=ge{stamp}&_sort=_lastUpdated"}]
        if page + 1 < SHARES[type_]:
            links.append({"relation": "next", "url": f"{BASE}/{type_}?_stored=s&_page={page + 1}"})
        return json.dumps({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}).encode()


def _moment(round_: int) -> datetime:
    return START + timedelta(minutes=10 * round_)


def made_up(type_: str, number: int, round_: int, stamp: str) -> dict[str, Any]:
    """One synthetic resource of a round, about one of its patients."""
    made: dict[str, Any] = {"resourceType": type_, "id": f"{type_[0].lower()}{number:08d}"}
    made["meta"] = {"versionId": "1", "lastUpdated": stamp, "source": f"urn:synthetic:{number}"}
    whose = {"reference": f"Patient/p{round_ * PAGE + number * 37 % PAGE:08d}"}
    day = (START + timedelta(hours=number % 5000)).strftime("%Y-%m-%dT%H:00:00Z")
    later = (START + timedelta(hours=number % 5000 + 1)).strftime("%Y-%m-%dT%H:00:00Z")
    identifier = [{"system": "https://fhir-tracker.example/made-up", "value": f"{type_}-{number:08d}"}]
    rest: dict[str, dict[str, Any]] = {
        "Patient": {
            "name": [{"family": f"Synthetic{number}", "given": ["Sync", "Benchmark"]}],
            "birthDate": f"19{number % 90 + 10}-03-0{number % 9 + 1}",
            "gender": ("female", "male")[number % 2],
            "telecom": [{"system": "phone", "value": f"555-{number % 10000:04d}", "use": "home"}],
            "address": [
                {"line": [f"{number} Made-up Street"], "city": "Nowhere", "state": "MA", "postalCode": "00000"}
            ],
        },
        "CarePlan": {"status": "active", "intent": "plan", "subject": whose, "period": {"start": day}, "title": _NOTE},
        "Encounter": {
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "subject": whose,
            "period": {"start": day, "end": later},
            "reasonCode": [{"text": _NOTE}],
        },
        "Appointment": {
            "status": ("booked", "fulfilled")[number % 2],
            "start": day,
            "end": later,
            "description": _NOTE * 4,
            "participant": [{"actor": whose, "status": "accepted"}],
        },
        "Observation": {
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]},
            "category": [{"coding": [{"code": "vital-signs", "display": "Vital Signs"}], "text": "Vital signs"}],
            "subject": whose,
            "effectiveDateTime": day,
            "valueQuantity": {
                "value": 60 + number % 50,
                "unit": "/min",
                "system": "http://unitsofmeasure.org",
                "code": "/min",
            },
            "note": [{"text": _NOTE}],
        },
    }
    if type_ == "Task":
        return task(number) | made | {"for": whose}
    return {**made, "identifier": identifier, **rest[type_]}
