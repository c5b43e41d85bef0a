"""Requests for tests of policies, made of nothing but their caller and address."""

from __future__ import annotations

from api.fhir.exchange import FhirRequest
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from tests.support.asking import NOW
from tests.support.contexts import context_of


def request_of(viewer: Viewer, type_: str = "Task") -> FhirRequest:
    """A read of some resource, with a store that is never asked."""
    database = Database.open("sqlite:////nowhere.db")
    return FhirRequest(
        context=context_of(database, started_at=NOW),
        method="GET",
        path=(type_, "x"),
        viewer=viewer,
        request_id="r",
        now=NOW,
        type=type_,
        id="x",
    )
