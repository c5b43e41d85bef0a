"""What a simulated EHR remembers: launches, codes, tokens, who is at which browser, and which requests broke a rule."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from api.demo.simulator.world import Member
from fhir_tracker.fhir.json_types import Json

CODE_LIFE = timedelta(seconds=60)
LAUNCH_LIFE = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What was open when an app was launched."""

    patient: str | None = None
    encounter: str | None = None
    intent: str | None = None
    fhir_context: tuple[Mapping[str, Json], ...] = ()
    needs_banner: bool | None = True
    style_url: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One press of a launch button: `id` is what `launch` says, good for one authorization."""

    id: str
    member: Member
    context: Context
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a person allowed an app."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    nonce: str
    member: Member
    context: Context
    family: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Issued:
    """An access or refresh token of a grant; `ends_at` None where it has no end of its own."""

    grant: Grant
    scopes: tuple[str, ...]
    ends_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request: the endpoint, its parameters as sent, and its Authorization header."""

    endpoint: str
    parameters: Mapping[str, str]
    authorization: str = ""


@dataclass
class _Shelves:
    launches: dict[str, Launch] = field(default_factory=dict)
    codes: dict[str, Grant] = field(default_factory=dict)
    used_codes: dict[str, Grant] = field(default_factory=dict)
    access: dict[str, Issued] = field(default_factory=dict)
    refresh: dict[str, Issued] = field(default_factory=dict)
    used_refresh: dict[str, Issued] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    browsers: dict[str, str] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)


class Ledger:
    """Everything in memory, for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = _Shelves()
        self._violations: list[str] = []
        self._seen: list[Seen] = []

    @property
    def violations(self) -> tuple[str, ...]:
        """What requests did that a strict server does not allow, or that the specification advises against."""
        with self._lock:
            return tuple(self._violations)

    @property
    def seen(self) -> tuple[Seen, ...]:
        """Every request, oldest first."""
        with self._lock:
            return tuple(self._seen)

    def blame(self, sentence: str) -> None:
        """Note a violation."""
        with self._lock:
            self._violations.append(sentence)

    def see(self, seen: Seen) -> None:
        """Note a request."""
        with self._lock:
            self._seen.append(seen)

    def forget(self) -> None:
        """Empty the lists of requests and violations."""
        with self._lock:
            self._violations.clear()
            self._seen.clear()

    def is_new(self, kind: str, value: str) -> bool:
        """Whether `value` was never met as `kind` before: states, nonces, challenges, ids of assertions."""
        with self._lock:
            key = f"{kind}:{value}"
            is_new = key not in self._kept.met
            self._kept.met.add(key)
            return is_new

    def sit_down(self, member: str) -> str:
        """A new browser session of a member of staff; its secret."""
        secret = secrets.token_urlsafe(24)
        with self._lock:
            self._kept.browsers[secret] = member
        return secret

    def sitting(self, secret: str) -> str | None:
        """Who sits at the browser with this secret."""
        with self._lock:
            return self._kept.browsers.get(secret)

    def stand_up(self, secret: str) -> None:
        """End a browser session."""
        with self._lock:
            self._kept.browsers.pop(secret, None)

    def launch(self, member: Member, context: Context, now: datetime) -> Launch:
        """A new launch."""
        made = Launch(id=secrets.token_urlsafe(18), member=member, context=context, at=now)
        with self._lock:
            self._kept.launches[made.id] = made
        return made

    def take_launch(self, id_: str, now: datetime) -> Launch | None:
        """The launch with this id, once; None when it is unknown, used or old."""
        with self._lock:
            found = self._kept.launches.pop(id_, None)
        return found if found and now - found.at <= LAUNCH_LIFE else None

    def code_for(self, grant: Grant) -> str:
        """A new code."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._kept.codes[code] = grant
        return code

    def take_code(self, code: str, now: datetime) -> Grant | None:
        """The grant of a code, once; a code shown twice ends everything that came of it."""
        with self._lock:
            if again := self._kept.used_codes.get(code):
                self._kept.ended.add(again.family)
                self._violations.append("token: a code was shown a second time")
                return None
            grant = self._kept.codes.pop(code, None)
            if grant is None:
                return None
            self._kept.used_codes[code] = grant
        return grant if now - grant.at <= CODE_LIFE else None

    def issue(self, grant: Grant, scopes: tuple[str, ...], ends_at: datetime) -> str:
        """A new access token."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._kept.access[token] = Issued(grant=grant, scopes=scopes, ends_at=ends_at)
        return token

    def issue_refresh(self, grant: Grant, scopes: tuple[str, ...]) -> str:
        """A new refresh token."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._kept.refresh[token] = Issued(grant=grant, scopes=scopes, ends_at=None)
        return token

    def take_refresh(self, token: str, *, keep: bool) -> Issued | None:
        """The refresh token, once unless `keep`; one shown twice ends its whole family."""
        with self._lock:
            if again := self._kept.used_refresh.get(token):
                self._kept.ended.add(again.grant.family)
                self._violations.append("token: a refresh token was shown a second time")
                return None
            found = self._kept.refresh.get(token)
            if found is None or found.grant.family in self._kept.ended:
                return None
            if not keep:
                self._kept.used_refresh[token] = self._kept.refresh.pop(token)
            return found

    def access(self, token: str, now: datetime) -> Issued | None:
        """The access token while it counts."""
        with self._lock:
            found = self._kept.access.get(token)
            is_ended = found is None or found.grant.family in self._kept.ended
        return None if found is None or is_ended or (found.ends_at and found.ends_at <= now) else found

    def refresh(self, token: str) -> Issued | None:
        """The refresh token while it counts, without using it up."""
        with self._lock:
            found = self._kept.refresh.get(token)
            return None if found is None or found.grant.family in self._kept.ended else found

    def revoke(self, token: str) -> None:
        """End a token: a refresh token takes all of its family along."""
        with self._lock:
            if found := self._kept.refresh.pop(token, None):
                self._kept.ended.add(found.grant.family)
            self._kept.access.pop(token, None)

    def end_access(self) -> None:
        """Every access token given so far ends now; refresh tokens go on."""
        with self._lock:
            self._kept.access.clear()

    def end_everything(self) -> None:
        """Every token given so far ends now."""
        with self._lock:
            self._kept.ended |= {grant.family for grant in self._kept.used_codes.values()}
