"""Whom a simulated EHR knows: its staff, its charts and the apps registered with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fhir_tracker.fhir.json_types import Json

ClientType = Literal["public", "confidential-symmetric", "confidential-asymmetric"]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of staff; `fhir_user` is relative to the FHIR base, `title` what they are called on the pages."""

    id: str
    name: str
    title: str
    fhir_user: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One patient's chart: `id` is the Patient's id."""

    id: str
    name: str
    born: str = ""
    sex: str = ""
    number: str = ""


@dataclass(frozen=True, kw_only=True)
class RegisteredApp:
    """An app as it was registered: `redirect_uris` are compared exactly, keys come from `jwks` or are read at `jwks_url`."""

    client_id: str
    name: str
    launch_url: str
    redirect_uris: tuple[str, ...]
    kind: ClientType = "public"
    secret: str = field(default="", repr=False)
    jwks: Mapping[str, Json] | None = None
    jwks_url: str = ""
    scopes: str = ""
    """What it may ask for, with blanks between; empty: anything."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Everybody and everything, each found by its id."""

    members: tuple[Member, ...]
    charts: tuple[Chart, ...]
    apps: tuple[RegisteredApp, ...] = ()

    def member(self, id_: str) -> Member | None:
        """The member of staff with this id."""
        return next((one for one in self.members if one.id == id_), None)

    def chart(self, id_: str) -> Chart | None:
        """The chart of this patient."""
        return next((one for one in self.charts if one.id == id_), None)

    def app(self, client_id: str) -> RegisteredApp | None:
        """The app registered under this id."""
        return next((one for one in self.apps if one.client_id == client_id), None)
