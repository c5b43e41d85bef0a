"""Following patients one by one, for servers that answer no other question: what is due of the roster, with open work first.

The roster is rows: each member's content, what it no longer holds, and when it is due again are one transaction, so that
a sync which is killed goes on with those who are left. Members are whom the EHR has shown us, and those a file or a Group
of the connection names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urlencode

from fhir_tracker import absent
from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.reading import moment_at, objects_at, text_at
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage import cursors, rosters
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.rosters import Member
from subscriptions.asking import Missing, ask, ask_for_missing
from subscriptions.bundles import Page, read_object
from subscriptions.finds import write_late
from subscriptions.following import PAGE_SIZE, Follow, TypeReport, nothing_else
from subscriptions.poll import read_entries
from subscriptions.strategies import ACTORS, PER_PATIENT, WINDOWED, Choice
from subscriptions.walking import walk
from subscriptions.windows import Progress, progress_from

SLICE = 200
EVERY = timedelta(hours=1)
EVERY_WITH_WORK = timedelta(minutes=15)
LONGEST_PAUSE = timedelta(days=1)
FULL_SINCE = "full_since"
"""Under which name a cursor keeps since when everyone is being compared as a whole."""
UNREADABLE_TO_STOP = 5
"""Members in a row that cannot be read before any could: then it is the question that is wrong, not the members."""
WINDOW_BACK = timedelta(days=31)
WINDOW_AHEAD = timedelta(days=183)


@dataclass
class _Round:
    """One round over what is due, in this process."""

    type: str
    choice: Choice
    cursor: Cursor
    progress: Progress
    full_since: datetime | None
    tally: Tally = field(default_factory=Tally)
    pages: int = 0
    read: int = 0
    unreadable: int = 0
    in_a_row: int = 0
    missed: int = 0
    notes: tuple[str, ...] = ()
    failure: RemoteFailure | None = None
    tired: bool = False
    ended: bool = False

    def is_full(self, member: Member) -> bool:
        """Whether everything of a member is compared, not only what changed."""
        return self.full_since is not None and (member.done_at is None or member.done_at < self.full_since)


def pull(follow: Follow, type_: str, choice: Choice) -> TypeReport:
    """Read whoever is due, as long as there is patience. A failure is reported and loses nothing read so far.

    Raises Busy when another process has taken the connection over.
    """
    turn = _opened(follow, type_, choice)
    try:
        _fill(follow, turn)
        begun = follow.now()
        while (due := _due(follow, turn, begun)) and _read_all(follow, turn, due, begun):
            pass
        turn.ended = not due
    except RemoteFailure as failure:
        turn.failure = failure
    return _report(follow, turn)


def compare_everyone(follow: Follow, type_: str) -> None:
    """Let everyone be read anew and as a whole, from now on and however many pulls it takes."""
    key, now = follow.connection.key, follow.now()
    with follow.database.begin() as tx:
        follow.hold(tx)
        found = cursors.find(tx, key, type_) or Cursor(connection=key, type=type_, updated_at=now)
        cursors.save(tx, replace(found, detail={**found.detail, FULL_SINCE: instant(now)}, updated_at=now))
        rosters.all_due(tx, key, type_, now)


def pull_patient(follow: Follow, type_: str, choice: Choice, patient: str) -> TypeReport:
    """Read one patient now, for a page that was opened; `patient` is its id at the EHR."""
    turn = _opened(follow, type_, replace(choice, actor="patient"))
    member = Member(connection=follow.connection.key, type=type_, patient=patient, due_at=follow.now())
    _read(follow, turn, member, has_work=True)
    return _report(follow, turn)


def _opened(follow: Follow, type_: str, choice: Choice) -> _Round:
    key = follow.connection.key
    with follow.database.read() as tx:
        found = cursors.find(tx, key, type_)
    cursor = found or Cursor(connection=key, type=type_, updated_at=follow.now())
    told = cursor.detail.get(FULL_SINCE)
    progress = progress_from(cursor.detail)
    full_since = parse_datetime(told) if told else None
    return _Round(type=type_, choice=choice, cursor=cursor, progress=progress, full_since=full_since)


def _fill(follow: Follow, turn: _Round) -> None:
    """Put on the roster whom the EHR has shown us, and take off whom it deleted."""
    subject = "Patient" if turn.type == "Patient" else ACTORS[turn.choice.actor]
    named = list(_named(follow, turn)) if subject == "Patient" else []
    key = follow.connection.key
    with follow.database.begin() as tx:
        follow.hold(tx)
        rosters.leave(tx, key, turn.type, subject)
        rosters.add(tx, key, turn.type, [*rosters.missing(tx, key, turn.type, subject), *named], follow.now())


def _named(follow: Follow, turn: _Round) -> Iterator[str]:
    """The patients that the connection's own file and Group name; those of before stay when the Group cannot be read."""
    told = follow.connection.options.get("roster_file")
    if told:
        try:
            lines = Path(str(told)).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The roster file cannot be read: {type(error).__name__}.") from None
        yield from (line.removeprefix("Patient/") for line in lines)
    group = follow.connection.options.get("group")
    if group:
        answer = follow.client.get(f"Group/{quote(str(group), safe='')}")
        try:
            read_object(answer)
        except RemoteFailure as failure:
            if not failure.permanent:
                raise
            turn.notes += (f"the Group cannot be read: {failure.message}",)
            return
        for member in objects_at(read_json(answer.body), "member"):
            reference = text_at(member, "entity", "reference") or ""
            type_, _, id_ = reference.rpartition("/")
            if type_.rpartition("/")[2] == "Patient" and id_ and member.get("inactive") is not True:
                yield id_


def _due(follow: Follow, turn: _Round, begun: datetime) -> Sequence[tuple[Member, bool]]:
    """Those who were due when the round began: who falls due again meanwhile waits for the next."""
    with follow.database.read() as tx:
        return rosters.due(tx, follow.connection.key, turn.type, begun, SLICE)


def _read_all(follow: Follow, turn: _Round, due: Sequence[tuple[Member, bool]], begun: datetime) -> bool:
    """False when the server failed, or patience is at an end, and the rest has to wait."""
    for member, has_work in due:
        _read(follow, turn, member, has_work)
        if turn.failure is not None:
            return False
        if follow.patience is not None and follow.now() - begun >= follow.patience:
            turn.tired = True
            return False
    return True


def _read(follow: Follow, turn: _Round, member: Member, has_work: bool) -> None:
    """One member: its content, what it no longer has, and when it is due again."""
    try:
        if turn.type == "Patient":
            _read_patient(follow, turn, member, has_work)
        else:
            _read_search(follow, turn, member, has_work)
    except RemoteFailure as failure:
        if not failure.permanent:
            turn.failure = failure
            return
        _put_off(follow, turn, member, failure)
    else:
        turn.read += 1
        turn.in_a_row = 0


def _put_off(follow: Follow, turn: _Round, member: Member, failure: RemoteFailure) -> None:
    turn.unreadable += 1
    turn.in_a_row += 1
    turn.notes += (f"some could not be read: {failure.message}",)
    pause = min(EVERY * 2 ** min(member.misses, 10), LONGEST_PAUSE)
    later = replace(member, misses=member.misses + 1, due_at=follow.now() + pause)
    with follow.database.begin() as tx:
        follow.hold(tx)
        rosters.save(tx, later)
    if turn.read == 0 and turn.in_a_row >= UNREADABLE_TO_STOP:
        turn.failure = failure


def _read_patient(follow: Follow, turn: _Round, member: Member, has_work: bool) -> None:
    found = ask(follow, "Patient", member.patient)
    done = _done(follow, turn, member, has_work)
    is_merged = isinstance(found, Received) and found.remote_id != member.patient
    gone = {member.patient: found is None} if found is None or is_merged else {}
    deleted = Tally()

    def also(tx: Tx) -> None:
        nonlocal deleted
        deleted = absent.note(tx, follow.connection.key, "Patient", gone, follow.author())
        _save(tx, turn, done, follow.now())

    turn.tally += follow.write([found] if found is not None and not is_merged else [], also)
    turn.tally += deleted


def _read_search(follow: Follow, turn: _Round, member: Member, has_work: bool) -> None:
    """All pages of one member; what is missing is asked for before the last one is written, with the member's own row."""
    narrows = turn.choice.strategy == PER_PATIENT and not turn.is_full(member)
    since = turn.progress.lower_bound(member.watermark, follow.overlap) if narrows else None
    address = question(turn.type, turn.choice, member.patient, since, follow.now() + follow.skew)
    seen: set[str] = set()
    partial = False
    pages = walk(follow, address)
    page = next(pages)
    turn.progress = turn.progress.begun(page.as_of)
    while True:
        entries, notes = read_entries(follow, turn.type, page)
        partial = partial or bool(notes)
        turn.notes += notes
        turn.pages += 1
        turn.progress = turn.progress.seen(_stamps(entries), page.served_at, follow.now())
        seen |= {one.remote_id for one in entries}
        following = next(pages, None)
        if following is None:
            break
        _write(follow, turn, member, entries)
        page = following
    missing = Missing() if partial or since is not None else _missing(follow, turn, member, seen, page)
    _finish(follow, turn, member, has_work, entries, missing)


def _write(
    follow: Follow,
    turn: _Round,
    member: Member,
    entries: Sequence[Received | Unusable],
    also: Callable[[Tx], None] = nothing_else,
) -> None:
    """Write a page; in a full round what the questions by `_lastUpdated` should have brought before is counted."""
    lower = turn.progress.lower_bound(member.watermark, follow.overlap)
    if turn.is_full(member) and turn.choice.strategy == PER_PATIENT:
        tally, missed, entries = write_late(follow, entries, lower)
        turn.tally += tally
        turn.missed += missed
    turn.tally += follow.write(entries, also)


def _finish(
    follow: Follow,
    turn: _Round,
    member: Member,
    has_work: bool,
    entries: Sequence[Received | Unusable],
    missing: Missing,
) -> None:
    done = replace(_done(follow, turn, member, has_work), watermark=turn.progress.watermark(member.watermark))
    deleted = Tally()

    def also(tx: Tx) -> None:
        nonlocal deleted
        deleted = absent.note(tx, follow.connection.key, turn.type, missing.gone, follow.author())
        _save(tx, turn, done, follow.now())

    if missing.there:
        turn.tally += follow.write(missing.there, nothing_else, returned=False)
    _write(follow, turn, member, entries, also)
    turn.tally += deleted


def question(type_: str, choice: Choice, member: str, since: datetime | None, server_now: datetime) -> str:
    """The search for one member; changed since `since` where the server knows it, in a window of dates for appointments."""
    parameters: list[tuple[str, str]] = [(choice.actor, member)]
    if choice.strategy == WINDOWED:
        first, last = server_now - WINDOW_BACK, server_now + WINDOW_AHEAD
        parameters += [("date", f"ge{first.date().isoformat()}"), ("date", f"le{last.date().isoformat()}")]
    elif since is not None:
        moment = since.date().isoformat() if choice.days else instant(since)
        parameters.append(("_lastUpdated", f"ge{moment}"))
    parameters.append(("_count", str(PAGE_SIZE)))
    return f"{type_}?{choice.query + '&' if choice.query else ''}{urlencode(parameters)}"


def _missing(follow: Follow, turn: _Round, member: Member, seen: set[str], page: Page) -> Missing:
    """What is held of this patient and was not among the answer."""
    if turn.choice.actor != "patient":
        return Missing()
    key = follow.connection.key
    with follow.database.read() as tx:
        held = rosters.held(tx, key, turn.type, local_id(key, member.patient, "Patient"))
    left_out = {id_: body for id_, body in held.items() if id_ not in seen}
    if turn.choice.strategy == WINDOWED:
        now = follow.now() + follow.skew
        left_out = {id_: body for id_, body in left_out.items() if _is_within(body, now)}
    return ask_for_missing(follow, turn.type, left_out)


def _is_within(body: str, now: datetime) -> bool:
    """Whether an appointment surely lies in the window that was asked for; the days at its ends are left out."""
    start = moment_at(read_json(body.encode()), "start")
    day = timedelta(days=1)
    return start is not None and now - WINDOW_BACK + day <= start <= now + WINDOW_AHEAD - day


def _done(follow: Follow, turn: _Round, member: Member, has_work: bool) -> Member:
    at = follow.now()
    every = max(EVERY_WITH_WORK if has_work else EVERY, timedelta(seconds=follow.connection.poll_seconds))
    return replace(member, done_at=at, due_at=at + every, misses=0)


def _save(tx: Tx, turn: _Round, member: Member, at: datetime) -> None:
    rosters.save(tx, member)
    turn.cursor = replace(turn.cursor, detail={**turn.cursor.detail, **turn.progress.as_detail()}, updated_at=at)
    cursors.save(tx, turn.cursor)


def _stamps(entries: Sequence[Received | Unusable]) -> list[str]:
    return [entry.updated for entry in entries if isinstance(entry, Received) and entry.updated]


def _report(follow: Follow, turn: _Round) -> TypeReport:
    """Also keeps with the cursor since when everyone has been read, which is the type's lag."""
    key, now = follow.connection.key, follow.now()
    with follow.database.read() as tx:
        stands = rosters.standing(tx, key, turn.type, now)
    since = None if stands.never or not stands.members else stands.oldest
    if since is not None and turn.failure is None:
        turn.progress = replace(turn.progress, completed_at=since)
        turn.cursor = replace(turn.cursor, detail={**turn.cursor.detail, **turn.progress.as_detail()}, updated_at=now)
        with follow.database.begin() as tx:
            follow.hold(tx)
            cursors.save(tx, turn.cursor)
    left = (f"{stands.due} of {stands.members} are still to be read",) if stands.due else ()
    failure = turn.failure
    if turn.full_since is not None and turn.ended:
        _end_comparison(follow, turn)
    return TypeReport(
        type=turn.type,
        tally=turn.tally,
        pages=turn.pages,
        lag_seconds=None if since is None else max((now - since).total_seconds(), 0.0),
        error=None if failure is None else failure.message,
        permanent=failure is not None and failure.permanent,
        auth=failure is not None and failure.auth,
        retry_after=None if failure is None else failure.retry_after,
        missed=turn.missed if turn.full_since is not None else None,
        more=turn.tired and bool(stands.due),
        loading=bool(stands.untried),
        notes=tuple(islice(dict.fromkeys((*turn.notes, *left)), 20)),
    )


def _end_comparison(follow: Follow, turn: _Round) -> None:
    """Everyone was read as a whole, or has been tried."""
    detail = {name: value for name, value in turn.cursor.detail.items() if name != FULL_SINCE}
    turn.cursor = replace(turn.cursor, detail=detail, updated_at=follow.now())
    with follow.database.begin() as tx:
        follow.hold(tx)
        cursors.save(tx, turn.cursor)
