"""EHRs that answer as the big vendors do, from the facts of their capability statements and documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from fhir_tracker.fhir.dates import date_range
from tests.subscriptions.fake_ehr import FakeEhr


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a vendor's server offers: type -> search parameters, and what a search of it has to say."""

    name: str
    searches: Mapping[str, tuple[str, ...]]
    requires: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    stamps: bool = True
    days: bool = False
    active_only: tuple[str, ...] = ()
    per_minute: int | None = None
    history: bool = False
    exports: bool = False


EPIC = Profile(
    name="Epic",
    searches={"Patient": ("_id", "name"), "CarePlan": ("patient", "category"), "CareTeam": ("patient",)},
    requires={"Patient": (("_id", "name"),), "CarePlan": (("patient",), ("category",)), "CareTeam": (("patient",),)},
    stamps=False,
)
ORACLE = Profile(
    name="Oracle Health Millennium",
    searches={
        "Patient": ("_id", "name"),
        "CareTeam": ("patient", "status"),
        "Appointment": ("patient", "practitioner", "location", "date"),
    },
    requires={
        "Patient": (("_id", "name"),),
        "CareTeam": (("patient",),),
        "Appointment": (("patient", "practitioner", "location"), ("date",)),
    },
    active_only=("CareTeam",),
)
ATHENA = Profile(
    name="athenahealth",
    searches={"Patient": ("_id", "_lastUpdated"), "CarePlan": ("patient", "_lastUpdated")},
    days=True,
)
ECW = Profile(
    name="eClinicalWorks",
    searches={"Patient": ("_id", "name"), "CarePlan": ("patient",)},
    requires={"Patient": (("_id", "name"),), "CarePlan": (("patient",),)},
    per_minute=250,
)


class VendorEhr(FakeEhr):
    """A FakeEhr that keeps to a vendor's profile; `served` counts its requests by the minute of its own clock."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self.profile = profile
        self.served: dict[int, int] = {}

    def put(self, type_: str, id_: str, *, stamp: str | None = None, **members: Any) -> str:
        """As the vendor would: Epic's resources carry no version and no time."""
        if self.profile.stamps:
            return super().put(type_, id_, stamp=stamp, **members)
        self.versions[type_, id_] = self.versions.get((type_, id_), 0) + 1
        return self.put_text(type_, id_, json.dumps({"resourceType": type_, "id": id_, **members}))

    def answer(self, request: httpx.Request) -> httpx.Response:
        minute = int(self.now.timestamp() // 60)
        self.served[minute] = self.served.get(minute, 0) + 1
        if self.profile.per_minute is not None and self.served[minute] > self.profile.per_minute:
            return self.json({"resourceType": "OperationOutcome", "issue": [{"code": "throttled"}]}, 429)
        return super().answer(request)

    def _metadata(self) -> dict[str, Any]:
        kinds = ["read", "search-type", *(["history-type"] if self.profile.history else [])]
        resources = [
            {
                "type": type_,
                "interaction": [{"code": code} for code in kinds],
                "searchParam": [{"name": name, "type": "string"} for name in names],
            }
            for type_, names in self.profile.searches.items()
        ]
        if self.profile.exports:
            resources.append({"type": "Group", "operation": [{"name": "export", "definition": "x"}]})
        return super()._metadata() | {
            "software": {"name": self.profile.name},
            "rest": [{"mode": "server", "resource": resources}],
        }

    def _search(self, type_: str, asked: Mapping[str, str]) -> httpx.Response:
        query = parse_qs(urlsplit(self.requests[-1]).query)
        for one_of in self.profile.requires.get(type_, ()):
            if not set(one_of) & set(query):
                return self._refused(f"{' or '.join(one_of)} is missing")
        unknown = set(query) - {*self.profile.searches.get(type_, ()), "_count", "_sort", "_elements"}
        if unknown:
            return self._refused(f"unknown {sorted(unknown)}")
        since = asked.get("_lastUpdated", "")
        if self.profile.days and "T" in since:
            return self._refused("_lastUpdated is a date")
        kept = {key: text for key, text in self.texts.items() if key[0] == type_ and self._matches(text, query)}
        everything, self.texts = self.texts, kept
        try:
            return super()._search(type_, asked)
        finally:
            self.texts = everything

    def _matches(self, text: str, query: Mapping[str, list[str]]) -> bool:
        resource = json.loads(text)
        if resource["resourceType"] in self.profile.active_only and resource.get("status") != "active":
            return False
        if "patient" in query and f"Patient/{query['patient'][0]}" not in text:
            return False
        if "category" in query and f'"{query["category"][0]}"' not in text:
            return False
        start = date_range(resource["start"])[0] if "start" in resource else 0
        return all(
            start >= date_range(told[2:])[0] if told.startswith("ge") else start < date_range(told[2:])[1]
            for told in query.get("date", ())
        )

    def _refused(self, why: str) -> httpx.Response:
        issue = {"severity": "error", "code": "required", "diagnostics": why}
        return self.json({"resourceType": "OperationOutcome", "issue": [issue]}, 400)
