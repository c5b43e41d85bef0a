"""The staff's pages: queues, tasks, patients and operations, rendered on the server."""

from __future__ import annotations

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from api.context import AppContext
from api.staff import (
    accounts_page,
    audit_page,
    bulk_page,
    connection_form,
    connection_page,
    connection_steps,
    exceptions,
    glass_page,
    info_pages,
    issuer_steps,
    operations_page,
    outbox_page,
    patient_page,
    plan_steps,
    providers_page,
    quarantine_page,
    queue_page,
    roles_page,
    session_pages,
    setup_page,
    steps_taken,
    sync_page,
    systems_page,
    task_page,
)
from api.staff.acts import guarded
from api.staff.endpoint import Handler, Page, see_other
from api.staff.entry import TicketPage
from api.staff.home import QUEUE, home_of
from api.staff.launched import LaunchedPage
from api.staff.visit import Visit
from fhir_tracker.errors import NotFound

_GET: dict[str, Handler] = {
    "/": queue_page.queue_page,
    "/pulse": queue_page.pulse,
    "/tasks/{id}": task_page.task_page,
    "/patients/{id}": patient_page.patient_page,
    "/patients/{id}/access": audit_page.access_page,
    "/audit": audit_page.audit_page,
    "/operations": operations_page.operations_page,
    "/programs": info_pages.programs_page,
    "/sync": sync_page.sync_page,
    "/connections": connection_form.connections_page,
    "/connections/{key}": connection_page.connection_page,
    "/setup": setup_page.setup_page,
    "/login-providers": providers_page.providers_page,
    "/roles": roles_page.roles_page,
    "/clients": systems_page.systems_page,
    "/staff": accounts_page.accounts_page,
    "/outbox": outbox_page.outbox_page,
    "/outbox/{id}": outbox_page.entry_page,
    "/quarantine": quarantine_page.quarantine_page,
    "/quarantine/{id}": quarantine_page.entry_page,
    "/break-glass": glass_page.openings,
    "/help/keys": info_pages.keys_page,
}
_POST: dict[str, Handler] = {
    "/tasks/{id}/claim": steps_taken.claim,
    "/tasks/{id}/release": steps_taken.release,
    "/tasks/{id}/assign": steps_taken.assign,
    "/tasks/{id}/move": steps_taken.move,
    "/tasks/{id}/attempt": steps_taken.attempt,
    "/tasks/{id}/note": steps_taken.note,
    "/tasks/{id}/acknowledge": steps_taken.acknowledge,
    "/tasks/{id}/take-over": steps_taken.take_over,
    "/tasks/{id}/send-back": steps_taken.send_back,
    "/tasks/{id}/resolve": steps_taken.resolve,
    "/tasks/{id}/undo": steps_taken.take_back,
    "/plans/{id}/move": plan_steps.move,
    "/plans/{id}/undo": plan_steps.take_back,
    "/patients/{id}/exceptions": exceptions.put_up,
    "/patients/{id}/exceptions/{code}/end": exceptions.take_down,
    "/patients/{id}/break-glass": glass_page.break_glass,
    "/staff": accounts_page.add,
    "/staff/{id}/roles": accounts_page.give_roles,
    "/staff/{id}/disable": accounts_page.disable,
    "/connections": connection_form.add,
    "/connections/{key}/terms": connection_steps.change,
    "/connections/{key}/remove": connection_steps.remove,
    "/connections/{key}/smart": issuer_steps.set_up,
    "/connections/{key}/smart/remove": issuer_steps.take_away,
    "/login-providers": issuer_steps.add_provider,
    "/login-providers/{key}/remove": issuer_steps.remove_provider,
    "/clients": systems_page.add,
    "/clients/rotate": systems_page.rotate,
    "/clients/revoke": systems_page.revoke,
    "/roles": roles_page.load,
    "/find": queue_page.find,
    "/bulk": bulk_page.bulk,
    "/outbox/{id}": outbox_page.resolve,
    "/outbox/{id}/retry": outbox_page.retry,
    "/quarantine/{id}/retry": quarantine_page.retry,
    "/quarantine/{id}/discard": quarantine_page.discard,
    "/preferences": info_pages.prefer,
}


_SESSION_GET: dict[str, Handler] = {
    "/open": session_pages.open_page,
    "/session": session_pages.session_state,
    "/style.css": session_pages.style,
}
_SESSION_POST: dict[str, Handler] = {
    "/stay": session_pages.stay,
    "/tickets": session_pages.tickets,
    "/logout": session_pages.logout,
}
_BY_ITSELF = frozenset({"/pulse", "/session", "/style.css"})
"""What a page asks for without anybody doing something."""


def routes(context: AppContext) -> list[BaseRoute]:
    """Every page of the staff, for open mode."""
    found = public_routes()
    found += [Route(path, Page(context, handler, path), methods=["GET"]) for path, handler in _GET.items()]
    return found + [Route(path, Page(context, handler, path), methods=["POST"]) for path, handler in _POST.items()]


def public_routes() -> list[BaseRoute]:
    """What holds nothing of anybody: styles, the script and the icon."""
    static = Mount("/static", StaticFiles(packages=[("api.staff", "static")]), name="static")
    return [static, Route("/favicon.ico", _icon, methods=["GET"])]


def launched_routes(context: AppContext) -> list[BaseRoute]:
    """Every page of the staff, below a launch, for a server that knows who comes in."""
    gets = {**_GET, **_SESSION_GET, "/": _home}
    posts = {**_POST, **_SESSION_POST}
    found: list[BaseRoute] = []
    for method, table in (("GET", gets), ("POST", posts)):
        for path, handler in table.items():
            page = LaunchedPage(context, handler, path, counts=path not in _BY_ITSELF)
            found.append(Route(f"/l/{{launch}}{path}", page, methods=[method]))
    rest = LaunchedPage(context, _nowhere, "/{path:path}")
    found.append(Route("/l/{launch}/{path:path}", rest, methods=["GET", "POST"]))
    found.append(Route("/t/{ticket}", TicketPage(context), methods=["GET"]))
    return found


def nowhere(context: AppContext) -> Page:
    """What answers where no route fits."""
    return Page(context, _nowhere, "other")


def _icon(_: Request) -> Response:
    """The address that browsers try by themselves; the icon is among the static files."""
    icon = files("api.staff").joinpath("static", "icon.svg").read_bytes()
    return Response(icon, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


def _home(visit: Visit) -> Response:
    """GET `/` of a launch: the queue, the chart of its patient, or the first place that is open to who came."""
    place = home_of(visit)
    return guarded(queue_page.queue_page, "/pulse")(visit) if place == QUEUE else see_other(place)


def _nowhere(visit: Visit) -> Response:
    raise NotFound("There is no page at this address.")
