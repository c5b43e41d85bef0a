"""One request for an access token: what comes back is checked, and no secret is told on.

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from fhir_tracker.errors import RemoteFailure
from subscriptions.client import JSON_TYPES, Answer, Budget, EhrClient, Limits
from subscriptions.outbound import PUBLIC, Reach

LIMITS = Limits(total_seconds=15.0, max_bytes=100_000, tries=1)
UNTOLD_LIFE = timedelta(minutes=5)
LONGEST_LIFE = timedelta(days=1)
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_TRANSIENT = frozenset({408, 425, 429})
INVALID_SCOPE = "invalid_scope"
_MEANINGS = {
    "invalid_client": "it does not know this client, or does not take its secret or key",
    INVALID_SCOPE: "it gives none of the scopes asked for: check --scopes",
    "invalid_grant": "it does not take what the client shows",
    "invalid_request": "it does not understand the request",
    "unauthorized_client": "this client may not ask for a token of its own (client_credentials)",
    "unsupported_grant_type": "it gives no tokens to services (client_credentials)",
}


@dataclass(frozen=True, kw_only=True)
class Token:
    """An access token. It counts until `ends_at`, and a new one is asked for from `renew_at` on; `scope` is what was granted.

    `told` is all that came with it.
    """

    value: str = field(repr=False)
    got_at: datetime
    renew_at: datetime
    ends_at: datetime
    scope: str = ""
    told: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def is_fresh(self, now: datetime) -> bool:
        """Whether it can be used without a thought; never after our clock was put back."""
        return self.got_at <= now < self.renew_at


def ask(
    url: str,
    form: Mapping[str, str],
    headers: Mapping[str, str],
    now: datetime,
    *,
    budget: Budget | None = None,
    limits: Limits = LIMITS,
    reach: Reach = PUBLIC,
) -> Token:
    """POST `form` to the token endpoint `url`, once, out of the `budget` of the EHR, if `reach` lets it.

    Raises RemoteFailure: with `auth` when the request was understood and is refused, or nothing usable comes back; without
    it when trying later may help, `unknown` when what was shown may count as used; `said` is the OAuth error, "" where none was
    given that is known.
    """
    own = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **headers}
    try:
        with EhrClient(url, limits=limits, budget=budget, reach=reach) as client:
            answer = client.send("POST", url, urlencode(form).encode(), own)
    except RemoteFailure as failure:
        message = f"No token is to be had. {failure.message}"
        raise RemoteFailure(
            message, retry_after=failure.retry_after, auth=failure.permanent, unknown=failure.unknown
        ) from None
    if answer.status != 200:
        raise _refusal(answer)
    return _token(answer, now)


def _refusal(answer: Answer) -> RemoteFailure:
    transient = answer.status in _TRANSIENT or answer.status >= 500
    untouched = answer.status == 429 or (answer.status == 503 and answer.retry_after is not None)
    code = _object(answer).get("error") if answer.content_type in JSON_TYPES else None
    known = code if isinstance(code, str) and code in _MEANINGS else ""
    said = f" {known}: {_MEANINGS[known]}" if known else ""
    return RemoteFailure(
        f"No token is to be had: the token endpoint answered {answer.status}{said}.",
        retry_after=answer.retry_after if transient else None,
        auth=not transient,
        unknown=transient and not untouched,
        said=known,
    )


def _token(answer: Answer, now: datetime) -> Token:
    told = _object(answer) if answer.content_type in JSON_TYPES else {}
    value, kind, scope = told.get("access_token"), told.get("token_type", "bearer"), told.get("scope")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        message = "No token is to be had: the token endpoint answered 200 without a token; is the token URL right?"
        raise RemoteFailure(message, auth=True)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        message = "No token is to be had: the token endpoint gives tokens of another kind than bearer."
        raise RemoteFailure(message, auth=True)
    life = _life(told.get("expires_in"))
    spare = max(life * 0.5, min(life * 0.8, life - timedelta(seconds=60)))
    return Token(
        value=value,
        got_at=now,
        renew_at=now + spare,
        ends_at=now + life,
        scope=scope if isinstance(scope, str) and scope.isprintable() else "",
        told=told,
    )


def _life(told: object) -> timedelta:
    """How long a token counts; some servers say it as text, some not at all."""
    if isinstance(told, str) and told.isascii() and told.isdigit():
        told = int(told[:9])
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < float("inf"):
        return UNTOLD_LIFE
    return min(timedelta(seconds=min(float(told), 1e6)), LONGEST_LIFE)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
