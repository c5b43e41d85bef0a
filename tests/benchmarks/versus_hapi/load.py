"""Load on one FHIR server: wrk for small requests, a driver of our own for transaction Bundles; what they counted."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.peers.process import PeerFailed

_SPENT = re.compile(r"Requests/sec:\s+([0-9.]+)")
_LATENCY = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s)$", re.MULTILINE)
_FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.+)")
_IN_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`rate` is requests or resources a second; latencies in ms, 0 where not taken."""

    rate: float
    p50: float = 0.0
    p99: float = 0.0


def wrk(base: str, script: Path, *, connections: int, seconds: int, token: str = "") -> Measured:
    """Drive `base` with the requests of a Lua script, each with the bearer token where there is one.

    Raises PeerFailed when any answer is not 2xx.
    """
    program = shutil.which("wrk")
    if program is None:
        raise PeerFailed("wrk is missing; install Debian's package wrk")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s", "-s", str(script)]
    command += ["-H", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run([*command, base], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    found, wrong = _SPENT.search(done.stdout), _FAILED.search(done.stdout)
    if found is None or wrong is not None:
        raise PeerFailed(f"{script.stem} on {base}: {wrong[0] if wrong else done.stdout}")
    latency = {percent: float(number) * _IN_MS[unit] for percent, number, unit in _LATENCY.findall(done.stdout)}
    return Measured(rate=float(found[1]), p50=latency.get("50", 0.0), p99=latency.get("99", 0.0))


def transactions(base: str, bundles: Sequence[bytes], *, at_once: int) -> Measured:
    """Post every Bundle, `at_once` at a time; the rate counts resources. Raises PeerFailed for a refused one."""
    entries = sum(len(json.loads(bundle)["entry"]) for bundle in bundles)
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        took = sorted(pool.map(lambda bundle: _post(base, bundle), bundles))
    spent = time.perf_counter() - begun
    return Measured(rate=entries / spent, p50=took[len(took) // 2], p99=took[-1])


def _post(base: str, body: bytes) -> float:
    address = urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=600)
    headers = {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
    begun = time.perf_counter()
    connection.request("POST", address.path, body, headers)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200:
        raise PeerFailed(f"transaction on {base}: {answer.status} {told[:500]!r}")
    return (time.perf_counter() - begun) * 1000


def put(base: str, resources: Sequence[dict[str, Any]]) -> None:
    """Store resources under their own ids, in transactions of 200."""
    for start in range(0, len(resources), 200):
        entry = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in resources[start : start + 200]
        ]
        _post(base, json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode())
