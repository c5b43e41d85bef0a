"""HAPI's IGenericClient, which Java applications use, does its daily work with this server."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.conformance.server import Tracker
from tests.peers.client.run import VERSION, run_scenarios

pytestmark = pytest.mark.peer
NUMBERS: Mapping[str, tuple[int, ...]] = {
    "capabilities": (1,),
    "create": (3,),
    "prefer": (10,),
    "read": (5,),
    "read if changed": (12,),
    "vread": (6,),
    "update": (7, 45),
    "update with If-Match": (40,),
    "update as create": (7,),
    "delete": (8,),
    "texts are kept": (3, 5),
    "client defaults": (11,),
    "gzip": (3,),
    "refusals": (4, 14, 19),
    "validate": (4,),
    "operations": (1,),
    "$apply": (135,),
    "$instantiate": (136,),
    "summary and elements of a read": (5,),
    "search": (16, 17, 20),
    "search by POST": (16,),
    "pages to the end": (29,),
    "sort": (30,),
    "totals and counts": (29,),
    "elements of a search": (17,),
    "include": (27,),
    "include iterate": (27,),
    "revinclude": (27, 123),
    "chain": (21, 28),
    "_has": (28,),
    "dates": (22,),
    "quantities": (22,),
    "missing and not": (25,),
    "compartment": (32,),
    "all types": (16, 23),
    "_lastUpdated": (23,),
    "unknown parameters": (18, 19),
    "transaction": (33, 34),
    "transaction of everything": (33,),
    "transaction with conditions": (35,),
    "transaction refused": (33, 35),
    "batch": (37,),
    "history of an instance": (44,),
    "history of a type": (44,),
    "history of the system": (44,),
    "JSON Patch": (9,),
    "FHIRPath Patch": (9,),
    "conditional create": (43,),
    "conditional update": (43,),
    "conditional delete": (43,),
    "conditional patch": (43,),
}
SCENARIOS = [pytest.param(name, id=name, marks=pytest.mark.requirement(*NUMBERS[name])) for name in NUMBERS]


@pytest.fixture(scope="module")
def outcomes(tracker: Tracker, peer_versions: dict[str, str]) -> Mapping[str, str]:
    """What the client says of each scenario, all done in one run of it."""
    peer_versions["HAPI IGenericClient"] = VERSION
    return run_scenarios(tracker.fhir)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_java_client_is_served(outcomes: Mapping[str, str], name: str) -> None:
    assert outcomes[name] == ""


def test_each_scenario_of_the_client_is_a_test(outcomes: Mapping[str, str]) -> None:
    assert set(outcomes) == set(NUMBERS)
