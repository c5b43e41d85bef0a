"""The cookie that ties a login under way to the browser it began in: for this host only, kept apart for each site that frames us."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from fhir_tracker.attempts import LASTS

NAME = "__Host-launching"
_SECRET = re.compile(r"[A-Za-z0-9_-]{40,64}")
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned"


def held(request: Request) -> str:
    """The secret that this browser holds, "" for none."""
    text = request.cookies.get(NAME, "")
    return text if _SECRET.fullmatch(text) else ""


def give(response: Response, secret: str) -> None:
    """Have the browser hold a secret for as long as a login may take."""
    text = f"{NAME}={secret}; Max-Age={int(LASTS.total_seconds())}; {_ATTRIBUTES}"
    response.headers.append("set-cookie", text)
