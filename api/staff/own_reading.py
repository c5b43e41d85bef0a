"""Where an EHR wants it so, a patient's pages open only to whom it shows that patient: it is asked in the person's own name.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#access-fhir-api
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from starlette.responses import Response

from api.context import AppContext
from api.staff.ehr_answers import ANSWERS, Answers
from api.staff.endpoint import Handler
from api.staff.visit import Visit, note_access
from fhir_tracker import clock
from fhir_tracker.errors import Forbidden, RemoteFailure, Unauthenticated, Unavailable
from fhir_tracker.storage import connections, issuers, resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession
from subscriptions import SessionTokens, charts
from subscriptions.user_tokens import AsPerson

GRACE = timedelta(minutes=5)
"""How long a patient whom an EHR showed stays open while it does not answer."""
REFUSED = "Your EHR does not show you this patient, so that nothing of them is shown here."
SILENT = "Your EHR does not answer, and has to say first whether you may see this patient. Try again in a moment."
_TYPES = {"/patients/": "Patient", "/tasks/": "Task", "/plans/": "CarePlan"}
OF_ONE_PATIENT = tuple(_TYPES)
"""How the addresses of pages about one patient begin."""


def shown_by_ehr(handler: Handler, answers: Answers = ANSWERS) -> Handler:
    """The handler of a page about one patient, for those to whom the EHR shows that patient, where it is to say so."""

    def handle(visit: Visit) -> Response:
        asking = _asking(visit)
        if asking is not None:
            _check(visit, asking, answers)
        return handler(visit)

    return handle


@dataclass(frozen=True, kw_only=True)
class _Asking:
    """Which patient (an id here, and one at the EHR) is to be asked about there."""

    session: LaunchSession
    connection: Connection
    issuer: Issuer
    patient: str
    remote: str


def _asking(visit: Visit) -> _Asking | None:
    """What the EHR is to be asked before the page is made; None where it has no say."""
    session = visit.launch
    if session is None or session.connection is None:
        return None
    with visit.context.database.read() as tx:
        issuer = issuers.find(tx, session.connection)
        if issuer is None or not issuer.options.get("reads_as_user"):
            return None
        connection = connections.find(tx, session.connection)
        stored = resources.find(tx, visit.viewer, "Patient", _patient(tx, visit) or "")
    if connection is None or stored is None or stored.connection != connection.key or not stored.remote_id:
        return None
    return _Asking(
        session=session, connection=connection, issuer=issuer, patient=stored.id, remote=stored.remote_id
    )  # fmt: skip


def _patient(tx: Tx, visit: Visit) -> str | None:
    """The patient that the page at an address is of, as far as the viewer may know."""
    type_ = next(type_ for start, type_ in _TYPES.items() if visit.path.startswith(start))
    id_ = visit.args.get("id", "")
    if type_ == "Patient":
        return id_
    stored = resources.find(tx, visit.viewer, type_, id_)
    return stored.patient if stored else None


def _check(visit: Visit, asking: _Asking, answers: Answers) -> None:
    """Raise Forbidden when the EHR does not show the person this patient, Unavailable when it cannot say so now."""
    told = answers.of(asking.session.id, asking.patient)
    with told.guard:
        now = clock.now()
        if not told.is_fresh(now):
            try:
                told.note("shown" if _ask(visit.context, asking) else "refused", now)
                _note(visit, asking, told.said)
            except RemoteFailure as failure:
                if failure.permanent or failure.auth:
                    told.note("refused", now)
                elif told.said != "shown" or not told.counts(now, GRACE):
                    told.note("silent", now)
            except Unauthenticated as error:
                told.note("refused", now)
                raise Forbidden(error.message) from None
        said = told.said
    if said == "silent":
        raise Unavailable(SILENT)
    if said == "refused":
        raise Forbidden(REFUSED)


def _ask(context: AppContext, asking: _Asking) -> bool:
    person = AsPerson(SessionTokens(context.database, context.secret_key), asking.session.id)
    return charts.read_as_person(
        context.database, asking.connection, asking.issuer, person, asking.remote, clock.now
    )  # fmt: skip


def _note(visit: Visit, asking: _Asking, said: str) -> None:
    """The row of what was read at the EHR in the person's name."""
    with visit.context.database.begin() as tx:
        note_access(
            tx,
            visit,
            "read",
            f"Patient/{asking.patient}",
            asking.patient,
            outcome="success" if said == "shown" else "denied",
            detail={"at": asking.issuer.key, "as": "person"},
        )
