"""How an action is carried out: on which thread, in which transaction, and with which row in the audit trail.

Every answer is given when its audit row is durable. What a glance can answer goes in groups; the rest of what reads, what
writes and what takes long have threads of their own, so that none waits for another kind.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial

from api.context import AppContext
from api.fhir.actions import Action
from api.fhir.auditing import access, record
from api.fhir.encoding import encoded, pretty
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.failing import ATTEMPTS, failure, is_recorded, pause_after, refusal
from api.fhir.lanes import Job, Lane, Pool, Returns
from api.fhir.patience import Patience
from fhir_tracker.admission import StaleAdmission
from fhir_tracker.errors import Busy, TrackerError, Unavailable, VersionConflict
from fhir_tracker.storage import audit, settings, trail
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.epochs import Watch, premise
from fhir_tracker.storage.glance import Glance, NeedsTransaction
from fhir_tracker.storage.group import GroupWriter
from fhir_tracker.storage.trail import Access

READ = "read"
MOMENT = 0.0005
"""Seconds that a lane waits for those it answered just now; what a group of reads costs hardly grows with it."""
PATIENCE = 0.005
"""Seconds that a group may take before what comes meanwhile gets a thread of its own."""


class Answering:
    """The threads of one server's FHIR API; they start when first needed and end with it."""

    def __init__(self, context: AppContext) -> None:
        self._database = context.database
        self._guard = threading.Lock()
        self._opened: GroupWriter | None = None
        self._epochs = Watch(context.database)
        self._returns = Returns()
        self._patience = Patience(self._asked, self._returns)
        self._reads = self._lane("reads", group=64, most=1024)
        self._searches = self._lane("searches", group=8, most=512)
        self._readers = Pool("readers", self._read, self._returns, threads=6, most=256)
        self._long = Pool("long", self._own, self._returns, threads=3, most=64)

    def _lane(self, name: str, *, group: int, most: int) -> Lane:
        lane = partial(Lane, name, self._glance, self._returns, threads=2, moment=MOMENT, patience=PATIENCE)
        return lane(group=group, most=most)

    async def answer(self, request: FhirRequest, action: Action) -> FhirResponse:
        """The answer to one request, errors of the caller included; raises only what is a mistake of ours."""
        if action.writes and not action.own_transactions:
            return await self._written(request, action)
        job = Job(request, action)
        try:
            self._place(action).put(job)
            return await self._patience.hold(job)
        except (Busy, Unavailable) as error:
            return refusal(error)

    def _place(self, action: Action) -> Lane | Pool:
        if action.own_transactions:
            return self._long
        if action.quick:
            return self._reads if action.interaction == READ else self._searches
        return self._readers

    async def _written(self, request: FhirRequest, action: Action) -> FhirResponse:
        """A write without If-Match that lost a race is simply done again: its caller named no version."""
        try:
            for attempt in range(ATTEMPTS):
                try:
                    return await self._submitted(request, action, partial(self._apply, request, action))
                except VersionConflict:
                    if request.header("if-match"):
                        raise
                await asyncio.sleep(pause_after(attempt))
            raise Busy("Others keep changing this resource; try again.")
        except TrackerError as error:
            return await self._told(request, action, error)

    async def _told(self, request: FhirRequest, action: Action, error: TrackerError) -> FhirResponse:
        response, rows = _failed(request, action, error)
        if not rows:
            return response
        try:
            return await self._submitted(request, action, partial(_noted, rows, response))
        except TrackerError as later:
            return refusal(later)

    async def _submitted(
        self, request: FhirRequest, action: Action, work: Callable[[Tx], FhirResponse]
    ) -> FhirResponse:
        job = Job(request, action)
        self._writer().submit(work, partial(self._returned, job), alone=bool(action.operation))
        return await self._patience.hold(job)

    def _returned(self, job: Job, response: FhirResponse | None, error: BaseException | None) -> None:
        answer = error or response
        if answer is not None:
            self._returns.give(job, answer)

    def _apply(self, request: FhirRequest, action: Action, tx: Tx) -> FhirResponse:
        """What is written counts if the caller still has every right at the commit, which is asked once for all that share it."""
        try:
            response = action.handle(request, tx)
        except TrackerError:
            self._check(request)
            raise
        if request.epoch is not None:
            tx.premises.setdefault(premise(request.epoch), []).append(partial(self._check, request))
        if response.note:
            record(tx, request, response.note, "success")
        return packed(request, response)

    def _check(self, request: FhirRequest, glance: Glance | None = None) -> None:
        """Raises StaleAdmission when a right was given or taken since it was found out who asks."""
        if request.epoch is not None and self._epochs.at(request.arrived, glance) != request.epoch:
            raise StaleAdmission

    def _asked(self) -> None:
        with self._database.read() as tx:
            settings.get(tx, "alive")

    def _writer(self) -> GroupWriter:
        """Starts with the first write, and ends with the server."""
        with self._guard:
            if self._opened is None:
                self._opened = GroupWriter(self._database)
                weakref.finalize(self, self._opened.close)
            return self._opened

    def _glance(self, group: list[Job], passed: Callable[[], None]) -> None:
        """Answers a group without a transaction; who needs one is sent on."""
        done: list[tuple[Job, FhirResponse]] = []
        rows: list[Access] = []
        try:
            with self._database.drivers.take() as driver:
                glance = Glance(driver, self._database.dialect)
                self._fetch(glance, [job.request for job in group])
                for job in group:
                    try:
                        self._check(job.request, glance)
                        response, row = _carried_out(job, glance)
                    except StaleAdmission as stale:
                        self._returns.give(job, stale)
                    except NeedsTransaction:
                        self._pass_on(job)
                    else:
                        done.append((job, response))
                        rows += row
                    passed()
            if rows:
                trail.add(self._database, rows)
        except TrackerError as error:
            done = [(job, refusal(error)) for job in group]
        for job, response in done:
            self._returns.give(job, response)

    def _fetch(self, glance: Glance, requests: Sequence[FhirRequest]) -> None:
        """Reads what these name by their ids; the epoch comes along where it matters to one of them."""
        wanted = [(one.viewer, one.type, one.id) for one in requests if one.id]
        if any(one.epoch is not None for one in requests):
            self._epochs.fetch(glance, wanted)
        else:
            glance.fetch(wanted)

    def _pass_on(self, job: Job) -> None:
        try:
            self._readers.put(job)
        except Busy as error:
            self._returns.give(job, refusal(error))

    def _read(self, job: Job) -> None:
        try:
            self._check(job.request)
            with self._database.read() as tx:
                response = job.action.handle(job.request, tx)
            answered = _succeeded(job, response)
        except TrackerError as error:
            answered = _failed(job.request, job.action, error)
        self._finish(job, *answered)

    def _own(self, job: Job) -> None:
        assert job.action.own_transactions is not None  # noqa: S101 - what this pool is for
        try:
            self._check(job.request)
            answered = _succeeded(job, job.action.own_transactions(job.request))
        except TrackerError as error:
            answered = _failed(job.request, job.action, error)
        self._finish(job, *answered)

    def _finish(self, job: Job, response: FhirResponse, rows: list[Access]) -> None:
        try:
            if rows:
                trail.add(self._database, rows)
        except TrackerError as error:
            response = refusal(error)
        self._returns.give(job, response)


def packed(request: FhirRequest, response: FhirResponse) -> FhirResponse:
    """The answer as the caller takes it: in lines when asked for, with gzip where that pays."""
    is_json = "Content-Type" not in response.headers
    lines = pretty(response.body, request.values("_pretty")) if request.pairs and is_json else response.body
    body, headers = encoded(lines, request.header("accept-encoding"))
    if body is response.body and not headers:
        return response
    return response.having(body=body, headers={**response.headers, **headers})


def _carried_out(job: Job, glance: Glance) -> tuple[FhirResponse, list[Access]]:
    try:
        return _succeeded(job, job.action.handle(job.request, glance))
    except TrackerError as error:
        return _failed(job.request, job.action, error)


def _succeeded(job: Job, response: FhirResponse) -> tuple[FhirResponse, list[Access]]:
    rows = [access(job.request, response.note, "success")] if response.note else []
    return packed(job.request, response), rows


def _failed(request: FhirRequest, action: Action, error: TrackerError) -> tuple[FhirResponse, list[Access]]:
    return refusal(error), [access(request, *failure(request, action, error))] if is_recorded(error) else []


def _noted(rows: list[Access], response: FhirResponse, tx: Tx) -> FhirResponse:
    for row in rows:
        audit.add_access(tx, row)
    return response
