"""The fake EHR's process as the tests hold it: started, told what to do, asked what is true, stopped by its id."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.peers.process import PLAIN, Process, answers, free_port

ROOT = Path(__file__).parents[2]


class EhrProcess:
    """One fake EHR; `base_url` ends in /fhir."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, control = free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/fhir"
        self._control = f"http://127.0.0.1:{control}/"
        self._http = httpx.Client(trust_env=False, timeout=120, verify=PLAIN)
        command = [sys.executable, "-m", "tests.faults.ehr_server", str(self.port), str(control)]
        self._process = Process(command, log=folder / "ehr.log", cwd=ROOT)
        self._process.wait_until(answers(self._control), seconds=60, what="the fake EHR")

    def act(self, what: str, **given: Any) -> Any:
        """One act by the control port."""
        answer = self._http.post(self._control, json={"act": what, "with": given})
        return answer.raise_for_status().json()["done"]

    def write(self, *ids: str, type_: str = "Patient", **members: Any) -> None:
        """A new version of each."""
        self.act("write_all", rows=[{"type_": type_, "id_": one, **members} for one in ids])

    def fault(self, *faults: Mapping[str, Any]) -> None:
        """What goes wrong from now on."""
        self.act("switch", faults=[dict(one) for one in faults])

    def state(self) -> dict[str, Any]:
        """The whole truth: `truth`, `seen` (the requests), `subscriptions`, `created`."""
        found: dict[str, Any] = self._http.get(self._control).raise_for_status().json()
        return found

    def truth(self) -> dict[str, dict[str, Any]]:
        """`Type/id` -> text, None when deleted, and version."""
        found: dict[str, dict[str, Any]] = self.state()["truth"]
        return found

    def kill(self) -> None:
        """kill -9: all it held is gone."""
        self._process.kill()

    def stop(self) -> None:
        self._http.close()
        self._process.kill()
