"""The pages of a simulated EHR: who logs in, which chart, what an app may, and the frame that apps open in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse, Response

from api.page_templates import page_templates

BROWSER = "ehr_browser"
KINDS = {"ehr.css": "text/css", "ehr.js": "text/javascript"}
_TEMPLATES = page_templates("api.demo.simulator")


def page(name: str, *, status: int = 200, frames: Sequence[str] = (), **values: object) -> Response:
    """A page that nobody else may frame and that itself frames nothing but `frames`, as origins."""
    text = _TEMPLATES.get_template(name).render(**values)
    return HTMLResponse(text, status_code=status, headers=headers(frames))


def headers(frames: Sequence[str] = ()) -> dict[str, str]:
    """What every page and asset carries."""
    framed = " ".join(["'self'", *sorted(set(frames))])
    policy = f"default-src 'self'; frame-src {framed}; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def asset(name: str) -> Response:
    """A style sheet or script of ours."""
    text = files("api.demo.simulator").joinpath("static", name).read_bytes()
    return Response(text, media_type=f"{KINDS[name]}; charset=utf-8", headers=headers())


def origin_of(address: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
