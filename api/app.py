"""The composition root: every route of the server, wrapped in its edge."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.context import Access, AppContext
from api.edge import Edge, is_fhir
from api.fhir.endpoint import FhirEndpoint
from api.health import health_routes
from api.hooks import hook_routes
from api.keys_page import keys_routes
from api.metrics import RequestNumbers
from api.reference import reference_routes
from api.smart.login_routes import login_routes
from api.smart.routes import token_routes
from api.staff import launched_routes, nowhere, public_routes, routes
from api.staff.entry import EntryPage, entry_routes
from api.staff.local_login import local_routes


class Application(FastAPI):
    """Sends what is below `/fhir` straight to its endpoint; all other routes are FastAPI's."""

    fhir: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and is_fhir(scope["path"]):
            await self.fhir(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(context: AppContext) -> Application:
    """The whole application for one context; the caller owns the database and the worker."""
    numbers = RequestNumbers(context.database, context.tally)
    app = Application(
        title="fhir-tracker",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Edge, context=context, numbers=numbers)],
    )
    app.fhir = Edge(FhirEndpoint(context), context, numbers)
    app.include_router(health_routes(context, numbers))
    app.include_router(reference_routes(context))
    app.include_router(keys_routes(context))
    app.router.routes += hook_routes(context)
    app.router.routes += token_routes(context)
    if context.access is Access.LOCKED:
        app.router.routes += public_routes()
        app.router.routes += launched_routes(context)
        app.router.routes += entry_routes(context)
        app.router.routes += local_routes(context)
        app.router.routes += login_routes(context)
        app.router.default = EntryPage(context, "other")
    else:
        app.router.routes += routes(context)
        app.router.default = nowhere(context)
    return app
