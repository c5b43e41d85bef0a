"""Pages of logins under way: why one did not work and what to do about it, and those that go on by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from api.context import AppContext
from api.outcomes import FHIR_JSON, headers_of, outcome_of_status, status_of
from api.staff.endpoint import serve
from api.staff.places import Place
from api.staff.rendering import HEADERS, outside
from fhir_tracker.errors import Incorrect, TrackerError

MOST_QUERY, MOST_FIELDS = 16_000, 50
NAMES = frozenset({"iss", "launch", "patient", "state", "code", "error", "window"})
"""All that a login looks at. Servers send more, on several lines even, and what is not known says nothing (RFC 6749, 4.1.2)."""
Answering = Callable[[Request, Mapping[str, str]], Response]


@dataclass(kw_only=True, eq=False)
class Problem(Exception):
    """A login that ends here, with what the person sees: `steps` are what to do, `told` what to tell an administrator.

    `framed_by` are the origins that may show it; `headers` go along.
    """

    heading: str
    text: str
    status: int = 400
    steps: Sequence[str] = ()
    told: Sequence[str] = ()
    framed_by: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class LoginEndpoint:
    """One address of logins, as an ASGI application; `answering` gets the parameters, none of them twice, on a thread."""

    def __init__(self, context: AppContext, route: str, answering: Answering) -> None:
        self._context = context
        self._route = route
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await serve(self._route, self._serve, scope, receive, send)

    def _serve(self, request: Request, body: bytes | None) -> Response:
        try:
            return self._answering(request, _parameters(request, body))
        except Problem as problem:
            return problem_page(self._context, request, problem)
        except TrackerError as error:
            return problem_page(self._context, request, problem_of(error))


def problem_of(error: TrackerError, framed_by: Sequence[str] = ()) -> Problem:
    """An error as a login that ends here."""
    status = status_of(error)
    headers = headers_of(error) if status in (429, 503) else {}
    return Problem(heading="That did not work", text=error.message, status=status, framed_by=framed_by, headers=headers)


def problem_page(context: AppContext, request: Request, problem: Problem) -> Response:
    """The page; an OperationOutcome for a client that wants FHIR."""
    accepts = request.headers.get("accept", "")
    if "json" in accepts and "text/html" not in accepts:
        body = outcome_of_status(problem.status, f"{problem.heading}. {problem.text}")
        return Response(body, status_code=problem.status, media_type=FHIR_JSON, headers={**HEADERS, **problem.headers})
    place = Place(root=context.root)
    response = outside("login_problem.html", place, status=problem.status, framed_by=problem.framed_by, view=problem)
    response.headers.update(problem.headers)
    return response


def going_page(context: AppContext, address: str, framed_by: Sequence[str], secret: str) -> HTMLResponse:
    """A page that sends the browser to `address`, and has its window keep the secret, too: a frame may have no cookies."""
    return outside(
        "login_going.html", Place(root=context.root), status=200, framed_by=framed_by, address=address, secret=secret
    )


def sending_form(context: AppContext, address: str, framed_by: Sequence[str], secret: str = "") -> HTMLResponse:
    """The same by a form, for servers that take it so; without `secret` the window keeps nothing."""
    parts = urlsplit(address)
    told = {
        "fields": parse_qsl(parts.query, keep_blank_values=True),
        "target": parts._replace(query="").geturl(),
        "secret": secret,
    }
    response = outside("login_form.html", Place(root=context.root), status=200, framed_by=framed_by, **told)
    _let_forms_go(response, f"{parts.scheme}://{parts.netloc}")
    return response


def window_page(context: AppContext, framed_by: Sequence[str]) -> HTMLResponse:
    """The way back into a window that holds its secret itself: its script hands everything over by a form."""
    return outside("login_window.html", Place(root=context.root), status=200, framed_by=framed_by)


def _let_forms_go(response: Response, origin: str) -> None:
    policy = response.headers["content-security-policy"]
    response.headers["content-security-policy"] = policy.replace("form-action 'self'", f"form-action {origin}")


def _parameters(request: Request, body: bytes | None) -> Mapping[str, str]:
    """Those of `NAMES` in the query, or the form of a POST; Incorrect for what cannot be read or is there twice."""
    if body is None or len(request.url.query) > MOST_QUERY:
        raise Incorrect("That is more than a login can be.")
    text = body.decode("ascii", "replace") if request.method == "POST" else request.url.query
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Incorrect("The address of this login cannot be read.") from None
    pairs = [one for one in pairs if one[0] in NAMES]
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Incorrect("The address of this login names something twice.")
    if not all(one.isprintable() for one in found.values()):
        raise Incorrect("The address of this login cannot be read.")
    return found
