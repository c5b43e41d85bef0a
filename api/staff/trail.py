"""The way back: the list from which a page was opened, carried along in `back` and always an address of this server."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

from api.staff.session import local_path
from api.staff.shapes import Tab
from api.staff.visit import Visit

_PLACES = {"": "Queue", "patients": "Patient", "operations": "Operations", "tasks": "Work"}


def carried(href: str, back: str) -> str:
    """`href` with `back` in its query, before any fragment; as it was when `back` is the plain queue or nothing."""
    if back in ("", "/"):
        return href
    path, hash_, fragment = href.partition("#")
    return f"{path}{'&' if '?' in path else '?'}back={quote(back, safe='')}{hash_}{fragment}"


def behind(visit: Visit) -> str:
    """The list behind this page: what the address says, else what the page a form came from said; "" for neither."""
    asked = visit.query.get("back") or _back_in(local_path(visit.form.get("back", ""), ""))
    return local_path(asked, "")


def crumb(back: str, chart: str = "") -> Tab:
    """The link at the top of a page: where it leads and what that place is called; in a `chart` no queue is behind it."""
    place = urlsplit(back).path.split("/")[1] if back else ""
    if chart and not place:
        return Tab(label="Patient", href=chart)
    return Tab(label=_PLACES.get(place, "Back"), href=back or "/")


def _back_in(address: str) -> str:
    return dict(parse_qsl(urlsplit(address).query)).get("back", "")
