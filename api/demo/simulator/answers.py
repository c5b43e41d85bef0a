"""How the endpoints of a simulated EHR answer: JSON, errors as OAuth has them, and the faults that come before either."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from api.demo.simulator.faults import Endpoint
from api.demo.simulator.ledger import Seen
from api.demo.simulator.simulator import Simulator
from fhir_tracker import clock

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
Handler = Callable[[Request, Mapping[str, str]], Response]


def endpoint(simulator: Simulator, name: Endpoint, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """`handler` as a Starlette endpoint in a thread of its own, behind the faults; it is given the parameters."""

    async def answer(request: Request) -> Response:
        body = await request.body() if request.method == "POST" else b""
        return await run_in_threadpool(_answer, simulator, name, handler, request, body)

    return answer


def _answer(simulator: Simulator, name: Endpoint, handler: Handler, request: Request, body: bytes) -> Response:
    given = _parameters(simulator, name, request, body)
    simulator.ledger.see(Seen(endpoint=name, parameters=given, authorization=request.headers.get("authorization", "")))
    faults = simulator.faults
    if name in faults.slow:
        clock.pause(faults.slow[name])
    if name in faults.down:
        return HTMLResponse("<h1>Internal server error</h1>", status_code=500)
    if name in faults.redirecting:
        return RedirectResponse(faults.redirect_to, status_code=302)
    if name in faults.not_json:
        return HTMLResponse("<!doctype html><title>Welcome</title><h1>Welcome to the portal</h1>")
    return handler(request, given)


def _parameters(simulator: Simulator, name: Endpoint, request: Request, body: bytes) -> Mapping[str, str]:
    """The parameters by name; one given twice, or in the address of a POST, is a violation."""
    if request.method == "POST" and request.url.query:
        simulator.ledger.blame(f"{name}: parameters of a POST stand in its address")
    text = body.decode("utf-8", "replace") if request.method == "POST" else request.url.query
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(dict(pairs)) != len(pairs):
        simulator.ledger.blame(f"{name}: a parameter is given twice")
    return dict(pairs)


def said(values: Mapping[str, object], status: int = 200) -> Response:
    """JSON that nobody may keep."""
    return JSONResponse(dict(values), status_code=status, headers=NO_STORE)


def refused(error: str, description: str, status: int = 400) -> Response:
    """An error of a token endpoint."""
    response = said({"error": error, "error_description": description}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="simulated EHR"'
    return response


def form_is_right(request: Request) -> bool:
    """Whether a POST says that it is a form."""
    return (
        request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
    )
