"""Requests to the FHIR API without a server: found in the table of routes, carried out in a transaction, answered or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from api.context import AppContext
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.failing import refusal
from api.fhir.routes import find_route
from fhir_tracker.errors import TrackerError
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy, policy_of
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.roles import built_in
from fhir_tracker.storage.database import Database
from tests.support.contexts import context_of

NOW = datetime(2026, 3, 9, 15, 30, tzinfo=UTC)
JSON = "application/fhir+json"


def member(
    *roles: str, who: str = "Practitioner/me", patient: str | None = None, policy: Policy | None = None, **more: Any
) -> Viewer:
    """A member of staff with these roles, or with this policy."""
    ruled = policy if policy is not None else policy_of(roles, built_in())
    return Viewer(
        who=who, name="Me", roles=frozenset(roles), patient=patient, sight=sight_of(None, ruled, patient), **more
    )


def holder(*scopes: str, patient: str | None = None, roles: tuple[str, ...] | None = None, who: str = "") -> Viewer:
    """Who holds a token with these scopes; with `roles` a person on top of whose scopes their policy counts."""
    policy = None if roles is None else policy_of(roles, built_in())
    return Viewer(
        who=who or ("Device/client" if roles is None else "Practitioner/me"),
        name="Holder",
        roles=frozenset(roles or ()),
        scopes=frozenset(scopes),
        patient=patient,
        sight=sight_of(grants_of(scopes), policy, patient),
        client="client",
    )


@dataclass(frozen=True, kw_only=True)
class Asker:
    """One caller of the FHIR API."""

    database: Database
    viewer: Viewer
    now: datetime = NOW
    context: AppContext = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "context", context_of(self.database, started_at=self.now))

    def as_viewer(self, viewer: Viewer) -> Asker:
        """The same server, asked by somebody else."""
        return replace(self, viewer=viewer)

    def ask(
        self,
        method: str,
        address: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        keep: bool = True,
    ) -> FhirResponse:
        """The answer to one request; with `keep` False nothing that it writes stays."""
        path, _, query = address.partition("?")
        parts = tuple(path.split("/")) if path else ()
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = FhirRequest(
            context=self.context,
            method=method,
            path=parts,
            pairs=tuple(parse_qsl(query, keep_blank_values=True)),
            headers={"content-type": JSON, **(headers or {})},
            body=raw,
            viewer=self.viewer,
            request_id="r",
            now=self.now,
        )
        try:
            route, named = find_route(parts)
            action = route.actions[method]
            request = replace(
                request, type=named.get("type", ""), id=named.get("id", ""), version=named.get("version", "")
            )
            if action.own_transactions:
                return action.own_transactions(request)
            if not action.writes:
                with self.database.read() as tx:
                    return action.handle(request, tx)
            with self.database.begin() as tx:
                response = action.handle(request, tx)
                if not keep:
                    raise _Undone(response)
                return response
        except _Undone as undone:
            return undone.response
        except TrackerError as error:
            return refusal(error)

    def read(self, address: str) -> Any:
        """The JSON of a GET that has to succeed."""
        response = self.ask("GET", address)
        assert response.status == 200, (response.status, response.body)
        return json.loads(response.body)

    def put(self, *resources: dict[str, Any]) -> None:
        """Store these, each of which has to be taken."""
        for one in resources:
            response = self.ask("PUT", f"{one['resourceType']}/{one['id']}", one)
            assert response.status in (200, 201), (one, response.body)


class _Undone(Exception):
    def __init__(self, response: FhirResponse) -> None:
        super().__init__()
        self.response = response


def told(response: FhirResponse) -> str:
    """What an OperationOutcome says, in one text."""
    issues = json.loads(response.body).get("issue", []) if response.body else []
    return " ".join(f"{one.get('diagnostics', '')} {one.get('expression', '')}" for one in issues)
