"""The Subscriptions of an EHR in memory: taken, kept, given a status, and lost, as a test wants it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.subscriptions.fake_ehr import BASE, FakeEhr

TOPIC = "http://example.org/SubscriptionTopic/patient-change"
PROFILE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription"
TOPICS = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
)


class Subscriptions:
    """Answers in place of `ehr` whatever is about Subscription; `refuses` are kinds it does not take."""

    def __init__(self, ehr: FakeEhr, *, refuses: tuple[str, ...] = (), topics: tuple[str, ...] = ()) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.refuses = refuses
        self.topics = topics
        self.offered = True
        self.status_since: int | None = None
        self.events: dict[str, Any] | None = None
        self.silent_create = False
        self._ehr = ehr
        ehr.twists.append(self)

    def __call__(self, request: httpx.Request) -> httpx.Response | None:
        """The twist."""
        parts = urlsplit(str(request.url))
        path = parts.path.removeprefix("/fhir/")
        if path == "metadata":
            return self._metadata(request)
        if not path.startswith("Subscription"):
            return None
        self.asked.append((request.method, path))
        if request.method == "POST":
            return self._create(json.loads(request.content))
        if path == "Subscription":
            return self._search(parse_qs(parts.query))
        _, id_, *operation = path.split("/")
        if operation:
            return self._operation(id_, operation[0])
        if request.method == "DELETE":
            return httpx.Response(204 if self.held.pop(id_, None) else 404)
        if request.method == "PUT":
            self.held[id_] = json.loads(request.content) | {"status": "active"}
        found = self.held.get(id_)
        return self._ehr.json(found) if found else httpx.Response(410)

    def only(self) -> dict[str, Any]:
        """The one that is held."""
        (found,) = self.held.values()
        return found

    def secret(self) -> str:
        """The secret of the one that is held."""
        (header,) = self.only()["channel"]["header"]
        return str(header.removeprefix("X-Hook-Secret: "))

    def _metadata(self, request: httpx.Request) -> httpx.Response:
        statement = json.loads(self._ehr.answer(request).text)
        told: dict[str, Any] = {"type": "Subscription", "interaction": [{"code": "create"}]}
        if self.topics:
            told |= {
                "supportedProfile": [PROFILE],
                "extension": [{"url": TOPICS, "valueCanonical": one} for one in self.topics],
            }
        statement["rest"][0]["resource"] += [told] if self.offered else []
        return self._ehr.json(statement)

    def _create(self, body: Mapping[str, Any]) -> httpx.Response:
        kind = "backport" if "meta" in body else "rest-hook"
        if kind in self.refuses:
            outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "business-rule"}]}
            return self._ehr.json(outcome, 422)
        id_ = f"s{len(self.asked)}"
        self.held[id_] = {**body, "id": id_, "status": "active" if kind == "rest-hook" else "requested"}
        if self.silent_create:
            raise httpx.ReadTimeout("no answer")
        made = self._ehr.json(self.held[id_], 201)
        made.headers["location"] = f"{BASE}/Subscription/{id_}/_history/1"
        return made

    def _search(self, asked: Mapping[str, list[str]]) -> httpx.Response:
        url = asked.get("url", [""])[0]
        found = [one for one in self.held.values() if one["channel"]["endpoint"] == url]
        return self._ehr.bundle([json.dumps({"resource": one}) for one in found])

    def _operation(self, id_: str, name: str) -> httpx.Response:
        if name == "$events" and self.events is not None:
            return self._ehr.json(self.events)
        if name != "$status" or self.status_since is None or id_ not in self.held:
            return httpx.Response(404)
        parameters = [
            {"name": "subscription", "valueReference": {"reference": f"Subscription/{id_}"}},
            {"name": "status", "valueCode": self.held[id_]["status"]},
            {"name": "type", "valueCode": "query-status"},
            {"name": "events-since-subscription-start", "valueString": str(self.status_since)},
        ]
        status = {"resourceType": "Parameters", "parameter": parameters}
        return self._ehr.json({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": status}]})
