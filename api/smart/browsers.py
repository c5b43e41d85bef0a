"""The cookies that tie logins under way to the browser they began in: for this host only, kept apart for each site that frames us.

Each login has one of its own, so that two that begin at the same moment in two frames do not take each other's.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from api.staff import cookies
from fhir_tracker.attempts import LASTS
from fhir_tracker.digests import digest_of

PREFIX = "__Host-launching-"
MOST = 8
"""How many logins under way one browser holds; more are forgotten, for a header of cookies may not grow without end."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{40,64}")
_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned"


def name_of(state: str) -> str:
    """The name of the cookie of the login with that state, which it does not tell."""
    return PREFIX + digest_of(state)[:16]


def held(request: Request, state: str) -> str:
    """The secret that this browser holds for the login with that state, "" for none."""
    text = request.cookies.get(name_of(state), "")
    return text if _SECRET.fullmatch(text) else ""


def brings_cookies(request: Request) -> bool:
    """Whether a cookie of ours comes back from this browser, of another login or of a session."""
    return bool(_others(request) or cookies.launches_in(request.cookies))


def give(request: Request, response: Response, state: str, secret: str) -> None:
    """Have the browser hold a secret for as long as a login may take."""
    _set(response, f"{name_of(state)}={secret}; Max-Age={int(LASTS.total_seconds())}")
    for name in _others(request)[: -MOST + 1]:
        _set(response, f"{name}=; Max-Age=0")


def take(request: Request, response: Response, state: str) -> None:
    """Have the browser forget the secret of a login that has ended."""
    if name_of(state) in request.cookies:
        _set(response, f"{name_of(state)}=; Max-Age=0")


def _others(request: Request) -> list[str]:
    return [name for name in request.cookies if _NAME.fullmatch(name)]


def _set(response: Response, text: str) -> None:
    response.headers.append("set-cookie", f"{text}; {_ATTRIBUTES}")
