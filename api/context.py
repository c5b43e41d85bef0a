"""What every request needs: the store, the settings, who may come in, and the address that begins our links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from urllib.parse import urlsplit

from api.limits import InDatabase, Limits
from api.smart.foreign import ForeignTokens
from api.tally import SLOWED, Tally
from fhir_tracker.admission import Admission
from fhir_tracker.config import Settings
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database


class Access(StrEnum):
    """Who may come in: everybody on this machine (`open`), or those who show who they are (`locked`)."""

    OPEN = "open"
    LOCKED = "locked"


@dataclass(frozen=True, kw_only=True)
class AppContext:
    """One running server. `public_url` has no slash at its end; `worker` says whether it runs one, in whichever of its processes."""

    database: Database
    settings: Settings
    access: Access
    public_url: str
    secret_key: str
    started_at: datetime
    worker: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def root(self) -> str:
        """The path below which others reach us, mostly nothing: what is between the host name and our own addresses."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def fhir_base(self) -> str:
        """The base of our FHIR API, without a slash at its end."""
        return f"{self.public_url}/fhir"

    def base_for(self, host: str) -> str:
        """The same as a caller knows it who came by this Host: where no public address is set, by any local name."""
        return self._local_bases.get(host, self.fhir_base)

    @property
    def bases(self) -> frozenset[str]:
        """Every base of our FHIR API by which callers may know it."""
        return frozenset({self.fhir_base, *self._local_names.values()})

    @property
    def _local_bases(self) -> Mapping[str, str]:
        return {} if self.access is Access.LOCKED else self._local_names

    @cached_property
    def _local_names(self) -> Mapping[str, str]:
        """Host -> base, for the names of this machine, where no public address is set."""
        parts = urlsplit(self.public_url)
        if self.settings.public_url or not parts.port:
            return {}
        hosts = [f"{name}:{parts.port}" for name in ("localhost", "127.0.0.1", "[::1]")]
        return {host: f"{parts.scheme}://{host}/fhir" for host in hosts}

    @cached_property
    def limits(self) -> Limits:
        """How often clients may ask of this process, and addresses may fail at any."""
        shared = InDatabase(self.database)
        return Limits(self.settings.rate_limit, lambda limit: self.tally.note(SLOWED, limit, 429, 0.0), shared)

    @cached_property
    def admission(self) -> Admission:
        """Who came lately with a token, in this process."""
        return Admission(self.database, self.fhir_base, ForeignTokens(self.database, self.secret_key, self.fhir_base))

    @property
    def host_names(self) -> frozenset[str]:
        """The names under which this server may be called; in open mode others are refused."""
        return frozenset({"localhost", "127.0.0.1", "::1", urlsplit(self.public_url).hostname or ""})

    def viewer(self) -> Viewer | None:
        """Who calls the FHIR API without having to show it; None where everybody has to."""
        return None if self.access is Access.LOCKED else open_viewer()
