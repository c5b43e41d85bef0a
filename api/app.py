"""The composition root: every route of the server, wrapped in its edge."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.context import Access, AppContext
from api.edge import Edge, is_fhir
from api.fhir.endpoint import FhirEndpoint
from api.health import health_routes
from api.hooks import hook_routes
from api.keys_page import keys_routes
from api.metrics import RequestNumbers
from api.reference import reference_routes
from api.staff import nowhere, routes

_LOCKED_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in first - fhir-tracker</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:38rem;margin:4rem auto;padding:0 1rem}</style></head>
<body><main><h1>Nobody is logged in</h1>
<p>This tracker runs, but it shows work and patients only to people it knows, and logging in is not part of this version
yet.</p>
<p>To look at it on your own machine with synthetic data, run <code>fhir-tracker demo</code>. To try it with a test server of
your own, run <code>fhir-tracker serve --open --port 8080</code>, which answers this machine only and asks for no login.</p>
</main></body></html>
"""


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
        middleware=[Middleware(Edge, context=context, numbers=numbers)],
    )
    app.fhir = Edge(FhirEndpoint(context), context, numbers)
    app.include_router(health_routes(context, numbers))
    app.include_router(reference_routes(context))
    app.include_router(keys_routes(context))
    app.router.routes += hook_routes(context)
    if context.access is Access.LOCKED:
        app.router.default = _locked_page()
    else:
        app.router.routes += routes(context)
        app.router.default = nowhere(context)
    return app


def _locked_page() -> Response:
    return HTMLResponse(_LOCKED_PAGE, status_code=401, headers={"WWW-Authenticate": 'Bearer realm="fhir-tracker"'})
