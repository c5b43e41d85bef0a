"""Who is looking: every read of patient data takes a Viewer, from which storage builds the row scope."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_tracker.model.having import Having
from fhir_tracker.model.sight import BEHIND, EVERYTHING, NOTHING, Sight

ROLES = ("rn", "care-coordinator", "provider", "front-desk", "clinic-admin")


@dataclass(frozen=True, kw_only=True)
class Viewer(Having):
    """A person, client or worker: `who` is a reference or a name for logs, `patient` a local Patient id that locks the
    view, `sight` what may be seen and done.

    `client` is the id of the OAuth client, `issuer` who vouched for all this, `address` the network address of the caller,
    `session` the public id of a launch session, `purpose` that of use (BTG: the glass is broken), `opened` the patients for
    whom it is.
    """

    who: str
    name: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    patient: str | None = None
    sight: Sight = NOTHING
    client: str = ""
    issuer: str = ""
    address: str = ""
    session: str = ""
    purpose: str = "TREAT"
    opened: frozenset[str] = frozenset()

    @property
    def seen_as(self) -> tuple[Sight, str | None, frozenset[str]]:
        """Equal for those to whom the same rows are shown: the key of what is kept of them."""
        return self.sight, self.patient, self.opened

    @property
    def sees_all(self) -> bool:
        """Whether every row of patient data may be read and searched, as what is kept for everybody has it."""
        return self.patient is None and self.sight.is_whole("r") and self.sight.is_whole("s")

    @property
    def counts_all(self) -> bool:
        """Whether figures of work are those of all work: no patient, program, place or restricted record is left out of them."""
        return (
            self.patient is None
            and self.sight.is_free("r", ("Task", "CarePlan"))
            and self.sight.is_free("s", ("Task", "CarePlan"))
        )

    def behind(self) -> Viewer:
        """Who an allowed act is carried out for: sees what the tracker itself has to, within the patient that is locked to."""
        return self if self.sight is EVERYTHING else self.having(sight=BEHIND)


ALL_SCOPES = frozenset({"system/*.cruds"})


_OPEN = Viewer(who="Device/open-mode", name="Open mode", roles=frozenset(ROLES), scopes=ALL_SCOPES, sight=EVERYTHING)


def open_viewer() -> Viewer:
    """The viewer of `serve --open`: no authentication, every role; bound to loopback by the command line."""
    return _OPEN


def worker_viewer(name: str) -> Viewer:
    """A worker of the tracker itself, such as `rule-worker` or `sync`."""
    return Viewer(who=f"Device/{name}", name=name, roles=frozenset({"system"}), scopes=ALL_SCOPES, sight=EVERYTHING)


RULE_WORKER = worker_viewer("rule-worker")
"""Who the rules act as."""
