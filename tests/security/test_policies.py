"""Every route of the running application says who may use it, and each page asks for it, whoever comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from api.app import create_app
from api.context import Access
from api.fhir.needs import OPEN, UNSTATED, Needs, check
from api.fhir.routes import ROUTES
from api.staff import session
from api.staff.acts import NEEDS, OWN, guarded
from api.staff.endpoint import Page
from api.staff.visit import Visit
from fhir_tracker.errors import Forbidden
from fhir_tracker.model.policy import ACTS
from fhir_tracker.model.sight import EVERYTHING, NOTHING
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.schema import prepare
from tests.support.asking import NOW, holder, member
from tests.support.contexts import context_of
from tests.support.policy_cases import request_of

WITHOUT_PERSON = {
    "/livez": "open: whether it runs",
    "/readyz": "open: whether it can work",
    "/.well-known/jwks.json": "open: public keys",
    "/favicon.ico": "open: an icon",
    "/static": "open: styles and a script",
    "/.well-known/smart-configuration": "open: where tokens are given",
    "/fhir/.well-known/smart-configuration": "open: the same",
    "/metrics": "the operator's token, off open mode",
    "/docs": "the operator's token, off open mode",
    "/openapi.json": "the operator's token, off open mode",
    "/hooks/{key}": "the connection's secret",
    "/hooks/{key}/{type}/{id}": "the connection's secret",
    "/auth/token": "the client's signed assertion",
    "/auth/introspect": "the client's signed assertion",
    "/auth/revoke": "the client's signed assertion",
    "/launch": "an issuer on the list; shows nothing",
    "/launch/standalone": "an issuer on the list; shows nothing",
    "/callback": "a state that is used once, bound to the browser",
    "/": "open where people log in: the ways in",
    "/login": "open: the ways in",
    "/login/local": "a name, a password and a code",
    "/login/enrol": "an invitation that is used once",
    "/login/{key}": "a provider on the list; shows nothing",
    "/t/{ticket}": "a ticket that is used once",
    "/l/{launch}/{path:path}": "the launch's secret; there is no page",
}
"""What no role has to do with: who may use it instead."""
# What each role may do besides resources, told by hand from docs/roles.md.
CLINICAL = {"queue", "patient", "task", "bulk", "programs", "operations", "break-glass"}
ROLES = {
    "rn": CLINICAL,
    "care-coordinator": CLINICAL,
    "provider": CLINICAL,
    "front-desk": {"queue", "patient", "task"},
    "clinic-admin": set(ACTS) - {"audit", "break-glass"},
    "auditor": {"operations", "audit", "export"},
    "nobody": set(),
}


def routes_of(route: BaseRoute) -> Iterator[BaseRoute]:
    inner = getattr(route, "original_router", None)
    if inner is None:
        yield route
    else:
        for one in inner.routes:
            yield from routes_of(one)


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[BaseRoute]:
    """Every route of the application, in each of its modes."""
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('routes') / 'routes.db'}")
    prepare(database)
    found = [
        one
        for access in Access
        for route in create_app(context_of(database, access=access)).routes
        for one in routes_of(route)
    ]
    database.close()
    return found


@pytest.mark.security("S40", "A1")
def test_every_route_of_the_application_has_a_policy(routes: list[BaseRoute]) -> None:
    without = []
    for route in routes:
        assert isinstance(route, Route | Mount), route
        endpoint = getattr(route, "endpoint", None)
        if not (isinstance(endpoint, Page) and endpoint.needs) and route.path not in WITHOUT_PERSON:
            without.append(route.path)
    assert without == []
    assert len(routes) > 90


@pytest.mark.security("S40")
def test_every_interaction_of_the_api_has_a_policy_and_all_but_one_are_shut(routes: list[BaseRoute]) -> None:
    actions = [(route.name, method, one) for route in ROUTES for method, one in route.actions.items()]
    assert [name for name, _, one in actions if not one.needs.is_stated] == []
    assert {name for name, _, one in actions if one.needs == OPEN} == {"/fhir/metadata"}
    assert {name for name, method, one in actions if one.needs.is_shared} == {"/fhir/"}


@pytest.mark.security("S40", "S48")
@pytest.mark.parametrize("needs", [UNSTATED, Needs(rights=()), Needs(acts=frozenset())])
def test_what_states_nothing_is_refused_to_everybody(needs: Needs) -> None:
    for viewer in (open_viewer(), Viewer(who="x"), member("clinic-admin"), holder("system/*.cruds")):
        with pytest.raises(Forbidden):
            check(request_of(viewer), needs)


def visit_of(viewer: Viewer, path: str = "/") -> Visit:
    database = Database.open("sqlite:////nowhere.db")
    return Visit(
        context=context_of(database, started_at=NOW),
        viewer=viewer,
        session=session.fresh(),
        now=NOW,
        request_id="r",
        path=path,
        query={},
        form={},
        args={},
        headers={},
        address=path,
    )


@pytest.mark.security("S40", "A3")
@pytest.mark.requirement(89)
@pytest.mark.parametrize("path", sorted(NEEDS))
@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_page_opens_to_those_roles_only_that_have_its_act(path: str, role: str) -> None:
    needed = NEEDS[path]
    handler = guarded(lambda visit: Response("shown"), path)
    if OWN in needed or needed & ROLES[role]:
        assert handler(visit_of(member(role), path)).status_code == 200
    else:
        with pytest.raises(Forbidden):
            handler(visit_of(member(role), path))


@pytest.mark.security("S40", "S48")
def test_a_page_without_a_policy_opens_to_nobody() -> None:
    handler = guarded(lambda visit: Response("shown"), "/secret-page")
    for viewer in (open_viewer(), member(*ROLES), Viewer(who="x", sight=EVERYTHING), Viewer(who="x", sight=NOTHING)):
        with pytest.raises(Forbidden, match="no policy"):
            handler(visit_of(viewer))


def test_every_act_of_the_table_is_an_act_and_a_token_without_roles_opens_no_page() -> None:
    assert {act for acts in NEEDS.values() for act in acts} - {OWN} <= set(ACTS)
    for path, needs in NEEDS.items():
        if OWN not in needs:
            with pytest.raises(Forbidden):
                guarded(lambda visit: Response("shown"), path)(visit_of(holder("system/*.cruds")))
