"""The cookie of one launch: for this host only, out of reach of scripts, kept apart for each site that frames us.

Written by hand, for the attribute Partitioned is not known to every `http.cookies`.
https://developer.mozilla.org/en-US/docs/Web/Privacy/Guides/Privacy_sandbox/Partitioned_cookies
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.responses import Response

PREFIX = "__Host-l-"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
_ID = re.compile("[A-Za-z0-9_-]{1,64}")


def name_of(launch: str) -> str:
    """The name of the cookie of a launch."""
    return PREFIX + launch


def give(response: Response, launch: str, secret: str, seconds: int) -> None:
    """Put the secret of a launch into the browser, for as long as the launch may last."""
    _set(response, f"{name_of(launch)}={secret}; Max-Age={max(seconds, 1)}; {_ATTRIBUTES}")


def take(response: Response, launch: str) -> None:
    """Have the browser forget the cookie of a launch."""
    _set(response, f"{name_of(launch)}=; Max-Age=0; {_ATTRIBUTES}")


def launches_in(names: Iterable[str]) -> list[str]:
    """The launches of which a browser holds a cookie, among the names of all its cookies."""
    ids = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    return [one for one in ids if _ID.fullmatch(one)]


def _set(response: Response, text: str) -> None:
    response.headers.append("set-cookie", text)
