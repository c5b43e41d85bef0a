"""What a simulated EHR does wrong when told to, one switch each; without any it keeps to the specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Endpoint = Literal["discovery", "openid", "authorize", "token", "jwks", "introspect", "revoke", "fhir"]
Keys = Literal["right", "none", "others", "garbage", "ambiguous"]
"""What the page of keys shows: the signing key, no key, another key of the same id, no JSON, or two keys of one id."""


@dataclass(frozen=True, kw_only=True)
class IdTokenFaults:
    """How an id_token is wrong. Names of claims are what they replace; None leaves the claim out."""

    missing: bool = False
    algorithm: Literal["RS256", "RS384", "ES384", "HS256", "none"] = "RS256"
    unsigned: bool = False
    """Signed by a key that nobody knows, under the right key id."""
    claims: Mapping[str, object] = field(default_factory=dict)
    header: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """All switches; the default is a server without faults."""

    down: frozenset[Endpoint] = frozenset()
    """Answers 500."""
    redirecting: frozenset[Endpoint] = frozenset()
    """Answers 302 to `redirect_to`."""
    redirect_to: str = "http://127.0.0.1:9/elsewhere"
    slow: Mapping[Endpoint, float] = field(default_factory=dict)
    """Seconds to wait before it answers."""
    not_json: frozenset[Endpoint] = frozenset()
    """Answers 200 with a page of HTML."""
    token_life: int = 300
    """Seconds an access token counts; 0 or less: it has ended when it is given, and `expires_in` does not say so."""
    says_life: bool = True
    """Whether `expires_in` is told."""
    refused_scopes: bool = False
    """Authorize answers `invalid_scope`."""
    denied: bool = False
    """The person says no: `access_denied`."""
    withheld: frozenset[str] = frozenset()
    """Scopes that are not granted."""
    without_refresh: bool = False
    without_rotation: bool = False
    """A refresh answers without a new refresh token: the old one goes on."""
    without_pkce: bool = False
    """The metadata names no method of code challenge, and the verifier is not looked at."""
    without_patient: bool = False
    other_patient: str = ""
    """The token names this patient, whoever's chart was open."""
    context: Mapping[str, object] = field(default_factory=dict)
    """What replaces values of the token's answer; None leaves one out."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """What replaces values of smart-configuration; None leaves one out."""
    introspection: Mapping[str, object] = field(default_factory=dict)
    """What replaces values of an introspection; None leaves one out."""
    keys: Keys = "right"
    id_token: IdTokenFaults = field(default_factory=IdTokenFaults)
    callback: Mapping[str, str | None] = field(default_factory=dict)
    """What replaces parameters of the way back to the app, `state`, `code` and `iss`; None leaves one out."""
    token_error: str = ""
    """The token endpoint refuses with this code of error."""


NO_FAULTS = Faults()


def replaced(values: Mapping[str, object], by: Mapping[str, object]) -> dict[str, object]:
    """`values` with what a fault puts in their place."""
    return {name: value for name, value in {**values, **by}.items() if value is not None}
