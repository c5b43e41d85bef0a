from __future__ import annotations

import httpx
import pytest

from tests.peers.sekmet.server import Sekmet

pytestmark = pytest.mark.peer


def test_sekmet_is_the_version_we_say_and_keeps_its_data_over_a_kill(sekmet: Sekmet) -> None:
    assert sekmet.version == "0.1.1"
    patient = {"resourceType": "Patient", "id": "smoke", "active": True, "name": [{"family": "Test-Synthetic"}]}
    with httpx.Client(base_url=sekmet.base_url, timeout=60, trust_env=False) as client:
        assert client.get("/Patient?_summary=count").json()["total"] == 0
        assert client.put("/Patient/smoke", json=patient).status_code in {200, 201}
        sekmet.kill()
        sekmet.restart()
        assert client.get("/Patient/smoke").json()["active"] is True
