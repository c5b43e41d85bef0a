"""From view to HTTP answer: the templates, and the headers that keep a page of patient data where it belongs."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment
from starlette.responses import HTMLResponse

from api.page_templates import page_templates
from api.staff.places import asset, at
from api.staff.shapes import Frame
from api.staff.trail import carried

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; "
    "img-src 'self'; connect-src 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates of the staff's pages, read once."""
    return page_templates("api.staff", carried=carried, at=at, asset=asset)


def render(template: str, frame: Frame, **values: object) -> str:
    """The text of a page."""
    return templates().get_template(template).render(frame=frame, **values)


def answer(template: str, frame: Frame, *, status: int = 200, **values: object) -> HTMLResponse:
    """The page as an answer; `values` are what its template shows."""
    return HTMLResponse(render(template, frame, **values), status_code=status, headers=HEADERS)
