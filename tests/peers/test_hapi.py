from __future__ import annotations

import httpx
import pytest

from tests.peers.hapi.server import Hapi

pytestmark = pytest.mark.peer


def test_hapi_is_the_version_we_say_and_keeps_what_it_is_given(hapi: Hapi) -> None:
    assert hapi.version == "8.8.0"
    patient = {"resourceType": "Patient", "id": "smoke", "active": True}
    with httpx.Client(base_url=hapi.base_url, timeout=60, trust_env=False) as client:
        written = client.put("/Patient/smoke", json=patient)
        assert written.status_code in {200, 201}
        read = client.get("/Patient/smoke").json()
    assert read["active"] is True
    assert read["meta"]["versionId"]
