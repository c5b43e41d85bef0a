"""Nobody gets anything from a server that knows nobody, but what any machine may know; open mode is for this machine only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.routing import BaseRoute, Mount, Route

from api.app import create_app
from api.context import Access
from api.fhir.routes import ROUTES
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.conformance.server import Tracker
from tests.conformance.talk import JSON, issue_of
from tests.support.contexts import context_of

FOR_EVERYBODY = {"/livez", "/readyz", "/fhir/metadata", "/.well-known/jwks.json"}
FOR_EVERYBODY |= {"/static/pages.css", "/favicon.ico"}
LOGINS = {"/launch", "/launch/standalone", "/callback"}
FILLED = {"{path:path}": "tasks/x", "{launch}": "no-such-launch", "{ticket}": "no-such-ticket"}
FILLED |= {"{type}": "Patient", "{id}": "x1", "{version}": "1", "{path:anything}": "anything"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def app_paths(folder: Path) -> set[str]:
    """The address of every route of the application in each of its modes, and of the FHIR API's own table."""
    database = Database.open(f"sqlite:///{folder / 'routes.db'}")
    prepare(database)
    found: set[str] = set()
    for access in Access:
        context = context_of(database, access=access, public_url="http://127.0.0.1")
        found |= {path for route in create_app(context).routes for path in paths_of(route)}
    database.close()
    return found | {route.name for route in ROUTES}


def paths_of(route: BaseRoute) -> set[str]:
    if isinstance(route, Mount):
        return {f"{route.path}/pages.css"}
    inner = getattr(route, "original_router", None)
    if inner is not None:
        return {path for one in inner.routes for path in paths_of(one)}
    assert isinstance(route, Route), route
    return {route.path}


@pytest.mark.security("A1", "S40")
@pytest.mark.requirement(14, 81)
def test_every_route_refuses_a_stranger(locked: Tracker, tmp_path: Path) -> None:
    paths = sorted(app_paths(tmp_path))
    assert len(paths) > 20
    with httpx.Client(base_url=locked.url, timeout=60, trust_env=False) as client:
        for template in paths:
            path = template
            for name, value in FILLED.items():
                path = path.replace(name, value)
            for method in METHODS:
                answer = client.request(method, path, content=b"{}", headers=JSON)
                if path in FOR_EVERYBODY:
                    assert answer.status_code in (200, 405), (method, path)
                elif path.startswith("/auth/") or path in LOGINS:
                    assert answer.status_code in (400, 401, 405), (method, path, answer.status_code)
                else:
                    assert answer.status_code in (401, 405), (method, path, answer.status_code)
                    assert answer.status_code == 401 or "www-authenticate" not in answer.headers


@pytest.mark.security("A1", "M3")
@pytest.mark.requirement(14, 81)
@pytest.mark.parametrize(
    "path",
    ["", "/Patient", "/Patient/x", "/Nope", "/Patient/x/_history", "/Patient?name=x", "/%00", "/a%0ab", "/metadata/x"],
)
def test_a_stranger_learns_nothing_from_the_api_not_even_what_is_there(locked: Tracker, path: str) -> None:
    answers = [
        httpx.get(f"{locked.fhir}{path}", timeout=60, trust_env=False, headers=headers)
        for headers in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": "Basic YTpi"},
            {"Cookie": "tracker_session=x.y"},
        )
    ]
    for answer in answers:
        assert issue_of(answer, 401)["code"] == "login"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.content == answers[0].content


@pytest.mark.security("A1", "S57")
def test_what_machines_may_know_holds_no_patient_and_no_secret(locked: Tracker) -> None:
    for path in ("/livez", "/readyz", "/.well-known/jwks.json"):
        answer = httpx.get(f"{locked.url}{path}", timeout=60, trust_env=False)
        assert answer.status_code == 200
        assert "made-up-key" not in answer.text
        assert "Patient/" not in answer.text.replace("Patient/{id}/", "")
    for path in ("/metrics", "/openapi.json", "/docs", "/redoc", "/fhir/docs", "/admin", "/.env", "/debug", "/console"):
        assert httpx.get(f"{locked.url}{path}", timeout=60, trust_env=False).status_code == 401


@pytest.mark.security("S57")
@pytest.mark.parametrize(
    "header", ["X-Forwarded-User", "X-Remote-User", "X-Original-URL", "X-Rewrite-URL", "Forwarded"]
)
def test_no_header_makes_a_stranger_somebody(locked: Tracker, header: str) -> None:
    for value in ("admin", "/fhir/metadata", "for=127.0.0.1"):
        answer = httpx.get(f"{locked.fhir}/Patient", headers={header: value}, timeout=60, trust_env=False)
        assert issue_of(answer, 401)


@pytest.mark.security("S57")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_open_mode_is_refused_anywhere_but_on_this_machine(tmp_path: Path, host: str) -> None:
    program = Path(sys.executable).parent / "fhir-tracker"
    database = f"sqlite:///{tmp_path / 'tracker.db'}"
    run = subprocess.run(
        [program, "serve", "--open", "--host", host, "--port", "0", "--database", database],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 2
    assert "loopback" in run.stderr
    assert not (tmp_path / "tracker.db").exists()


@pytest.mark.security("S57")
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1", "127.0.0.1@evil.example"]
)
def test_open_mode_answers_under_no_other_name(one_tracker: Tracker, host: str) -> None:
    for path in ("/fhir/Patient", "/fhir/metadata", "/", "/metrics", "/static/pages.css"):
        answer = httpx.get(f"{one_tracker.url}{path}", headers={"Host": host}, timeout=60, trust_env=False)
        assert answer.status_code in (400, 421), (path, answer.status_code)
        assert "Patient" not in answer.text
    forwarded = httpx.get(
        f"{one_tracker.fhir}/metadata", headers={"X-Forwarded-Host": host}, timeout=60, trust_env=False
    )
    assert host not in forwarded.text


@pytest.mark.security("S57")
def test_no_other_site_may_read_answers(one_tracker: Tracker) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        for path in ("/fhir/Patient", "/"):
            answer = httpx.request(method, f"{one_tracker.url}{path}", headers=headers, timeout=60, trust_env=False)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
