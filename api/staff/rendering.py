"""From view to HTTP answer: the templates, and the headers that keep a page of patient data where it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment
from starlette.responses import HTMLResponse

from api.edge import ASKED
from api.page_templates import page_templates
from api.staff.places import Place, asset, at
from api.staff.shapes import Frame
from api.staff.trail import carried

_PERMISSIONS = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "usb")


def policy(*framed_by: str) -> str:
    """The Content-Security-Policy of a page that only pages of the origins `framed_by` may frame; without any, none may."""
    return (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {' '.join(framed_by) or NOBODY}; img-src 'self'; connect-src 'self'"
    )


NOBODY = "'none'"
POLICY = policy("'self'")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": ", ".join(f"{one}=()" for one in _PERMISSIONS),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What a page of nobody's session knows."""

    place: Place


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates of the staff's pages, read once."""
    return page_templates("api.staff", carried=carried, at=at, asset=asset, spelled=spelled)


def spelled(text: str) -> str:
    """A long secret in groups of four, as people type it."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def render(template: str, frame: Frame, **values: object) -> str:
    """The text of a page."""
    return templates().get_template(template).render(frame=frame, reference=ASKED.get(), **values)


def outside(
    template: str, place: Place, *, status: int, framed_by: Sequence[str] = (), **values: object
) -> HTMLResponse:
    """A page of nobody's session: one for people who are not in, or not yet."""
    known = {"reference": ASKED.get() if status >= 400 else "", **values}
    text = templates().get_template(template).render(frame=Outside(place=place), **known)
    headers = HEADERS | {"Content-Security-Policy": policy(*framed_by)}
    return HTMLResponse(text, status_code=status, headers=headers)


def answer(template: str, frame: Frame, *, status: int = 200, **values: object) -> HTMLResponse:
    """The page as an answer; `values` are what its template shows."""
    return HTMLResponse(render(template, frame, **values), status_code=status, headers=HEADERS)
