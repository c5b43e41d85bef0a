"""A bulk export as the source of several types: asked for, waited for, and taken file by file and piece by piece.

Where the export stands is a cursor of the connection: a sync that is killed goes on with the next piece of the same file.

https://hl7.org/fhir/uv/bulkdata/export.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from fhir_tracker import absent, intake
from fhir_tracker.errors import Incorrect, RemoteFailure
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from subscriptions.abilities import Abilities
from subscriptions.asking import ask, ask_for_missing
from subscriptions.bundles import outcome_codes, read_entries, refuse
from subscriptions.client import FHIR_JSON, Answer
from subscriptions.deletions import deletion_of
from subscriptions.following import Follow, TypeReport, nothing_else

EXPORT = "*bulk"
"""Under which name the export of a connection is kept among its cursors."""
EVERY = timedelta(days=1)
ASK_AGAIN = timedelta(seconds=30)
PIECE = 500
LISTS = ("output", "deleted", "error")
_GONE = frozenset({404, 410})


def export(follow: Follow, types: Sequence[str], abilities: Abilities) -> None:
    """Bring the export of `types` as far as it goes now; how it went is kept, for `report_of`."""
    if not types:
        return
    with follow.database.read() as tx:
        found = cursors.find(tx, follow.connection.key, EXPORT)
    cursor = found or Cursor(connection=follow.connection.key, type=EXPORT, updated_at=follow.now())
    cursor = replace(cursor, detail={**cursor.detail, "error": None, "tallies": {}})
    try:
        _Export(follow, types, cursor).go_on(abilities)
    except RemoteFailure as failure:
        with follow.database.read() as tx:
            stands = cursors.find(tx, follow.connection.key, EXPORT) or cursor
        told = {"error": failure.message, "permanent": failure.permanent, "retry_after": failure.retry_after}
        told |= {"auth": failure.auth}
        _keep(follow, replace(stands, detail={**stands.detail, **told}, updated_at=follow.now()))


def report_of(follow: Follow, type_: str) -> TypeReport:
    """What the last look at the export brought of one type."""
    with follow.database.read() as tx:
        found = cursors.find(tx, follow.connection.key, EXPORT)
    detail: Mapping[str, Any] = found.detail if found else {}
    completed = detail.get("completed_at")
    lag = None if not completed else max((follow.now() - parse_datetime(completed)).total_seconds(), 0.0)
    return TypeReport(
        type=type_,
        tally=Tally(**detail.get("tallies", {}).get(type_, {})),
        watermark=found.watermark if found else None,
        lag_seconds=lag,
        error=detail.get("error"),
        permanent=bool(detail.get("permanent")) and bool(detail.get("error")),
        auth=bool(detail.get("auth")) and bool(detail.get("error")),
        retry_after=detail.get("retry_after") if detail.get("error") else None,
        notes=("an export is under way",) if detail.get("status_url") else (),
    )


class _Export:
    """One look at the export of a connection."""

    def __init__(self, follow: Follow, types: Sequence[str], cursor: Cursor) -> None:
        self._follow = follow
        self._types = types
        self._cursor = cursor
        self._seen: dict[str, set[str]] = {type_: set() for type_ in types}

    def go_on(self, abilities: Abilities) -> None:
        """Ask for an export when one is due; wait for it; take what it brought. Raises RemoteFailure."""
        detail, now = self._cursor.detail, self._follow.now()
        if not detail.get("status_url"):
            completed = detail.get("completed_at")
            if completed and now - parse_datetime(completed) < EVERY and not detail.get("wanted_whole"):
                self._note({})
                return
            self._ask(abilities)
        elif detail.get("ask_at") and parse_datetime(detail["ask_at"]) > now:
            self._note({})
            return
        if not self._cursor.detail.get("manifest"):
            self._look()
        if self._cursor.detail.get("manifest"):
            self._take()

    def _ask(self, abilities: Abilities) -> None:
        follow, since = self._follow, self._cursor.watermark
        whole = since is None or bool(self._cursor.detail.get("wanted_whole"))
        parameters = {"_outputFormat": "application/fhir+ndjson", "_type": ",".join(self._types)}
        if since is not None and not whole:
            parameters["_since"] = instant(since - follow.overlap)
        answer = follow.client.get(
            f"{_place(follow, abilities)}?{urlencode(parameters)}", {"Accept": FHIR_JSON, "Prefer": "respond-async"}
        )
        if answer.status != 202:
            refuse(answer)
        if not answer.content_location:
            raise RemoteFailure("The server began an export and does not say where to ask for it.", permanent=True)
        self._note({"status_url": answer.content_location, "whole": whole, "manifest": None, "file": 0, "line": 0})

    def _look(self) -> None:
        follow = self._follow
        answer = follow.client.get(str(self._cursor.detail["status_url"]), {"Accept": "application/json"})
        if answer.status == 202:
            wait = timedelta(seconds=answer.retry_after) if answer.retry_after else ASK_AGAIN
            self._note({"ask_at": instant(follow.now() + wait)})
            return
        if answer.status != 200:
            self._note({"status_url": None})
            refuse(answer)
        self._note({"manifest": _manifest(answer), "file": 0, "line": 0, "ask_at": None, "begun_here": True})

    def _take(self) -> None:
        manifest = self._cursor.detail["manifest"]
        files = [(kind, one["type"], one["url"]) for kind in LISTS for one in manifest[kind]]
        resumed = self._cursor.detail["file"] > 0 or self._cursor.detail["line"] > 0
        for number, (kind, type_, url) in enumerate(files):
            if number < self._cursor.detail["file"]:
                continue
            skipped = self._cursor.detail["line"] if number == self._cursor.detail["file"] else 0
            if kind != "output" or type_ in self._types:
                self._file(number, kind, type_, url, skipped)
            self._note({"file": number + 1, "line": 0})
        if self._cursor.detail["whole"] and not resumed and not manifest["error"]:
            self._miss()
        self._end(manifest)

    def _file(self, number: int, kind: str, type_: str, url: str, skipped: int) -> None:
        """One file, piece by piece; each with the cursor behind it. An expired one ends the export, to be asked for anew."""
        lines = self._lines(url)
        at = skipped
        for _ in islice(lines, skipped):
            pass
        while piece := list(islice(lines, PIECE)):
            at += len(piece)
            if kind == "deleted":
                self._delete(piece)
            else:
                self._write(kind, type_, piece, {"file": number, "line": at})
        if kind == "deleted":
            self._note({"file": number, "line": at})

    def _lines(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._follow.client.lines(url)
        except RemoteFailure as failure:
            if failure.permanent:
                self._note({"status_url": None, "manifest": None})
            raise

    def _write(self, kind: str, type_: str, lines: Sequence[bytes], place: Mapping[str, Any]) -> None:
        entries = [
            _outcome(line) if kind == "error" else intake.read_entry(line, type_, self._follow.translate)
            for line in lines
        ]
        if kind == "output":
            self._seen[type_] |= {one.remote_id for one in entries}
        moved = replace(self._cursor, detail={**self._cursor.detail, **place}, updated_at=self._follow.now())
        tally = self._follow.write(entries, lambda tx: cursors.save(tx, moved))
        self._cursor = moved
        self._count(type_ if kind == "output" else self._types[0], tally)

    def _delete(self, lines: Sequence[bytes]) -> None:
        """What the export says was deleted, each asked for: it may have been made again since."""
        follow = self._follow
        for type_, remote_id in (one for line in lines for one in _deleted(line, self._types)):
            found = ask(follow, type_, remote_id)

            def gone(tx: Tx, type_: str = type_, remote_id: str = remote_id, is_gone: bool = found is None) -> None:
                if is_gone:
                    intake.take_deletion(tx, type_, remote_id, None, follow.connection.key, follow.author())

            self._count(type_, follow.write([found] if found else [], gone) + Tally(deleted=int(found is None)))

    def _miss(self) -> None:
        """What a whole export left out."""
        follow, key = self._follow, self._follow.connection.key
        for type_ in self._types:
            with follow.database.read() as tx:
                held = resources.ids_of(tx, key, type_)
            missing = ask_for_missing(follow, type_, set(held) - self._seen[type_])
            follow.write(missing.there, nothing_else, returned=False)
            with follow.database.begin() as tx:
                follow.hold(tx)
                tally = absent.note(tx, key, type_, missing.gone, follow.author())
            self._count(type_, tally)

    def _end(self, manifest: Mapping[str, Any]) -> None:
        at = _moment(manifest["transactionTime"])
        status_url = str(self._cursor.detail["status_url"])
        self._cursor = replace(self._cursor, watermark=at or self._cursor.watermark)
        ended = {"status_url": None, "manifest": None, "wanted_whole": False}
        self._note(ended | {"completed_at": instant(self._follow.now())})
        try:
            self._follow.client.send("DELETE", status_url)
        except RemoteFailure:
            return

    def _count(self, type_: str, tally: Tally) -> None:
        tallies = dict(self._cursor.detail.get("tallies", {}))
        tallies[type_] = dict((Tally(**tallies.get(type_, {})) + tally).__dict__)
        self._cursor = replace(self._cursor, detail={**self._cursor.detail, "tallies": tallies})

    def _note(self, told: Mapping[str, Any]) -> None:
        self._cursor = replace(self._cursor, detail={**self._cursor.detail, **told}, updated_at=self._follow.now())
        _keep(self._follow, self._cursor)


def want_whole(follow: Follow) -> None:
    """Let the next export be of everything, not only of what changed."""
    with follow.database.read() as tx:
        found = cursors.find(tx, follow.connection.key, EXPORT)
    cursor = found or Cursor(connection=follow.connection.key, type=EXPORT, updated_at=follow.now())
    _keep(follow, replace(cursor, detail={**cursor.detail, "wanted_whole": True}, updated_at=follow.now()))


def _place(follow: Follow, abilities: Abilities) -> str:
    group = follow.connection.options.get("group")
    if group:
        return f"Group/{quote(str(group), safe='')}/$export"
    if "system" in abilities.exports or "Patient" not in abilities.exports:
        return "$export"
    return "Patient/$export"


def _manifest(answer: Answer) -> dict[str, Any]:
    """The files of an export, in the order they are taken; RemoteFailure when it is no list of files."""
    try:
        told = msgspec.json.decode(answer.body)
        files = {kind: [_described(one) for one in told.get(kind) or []] for kind in LISTS}
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, RecursionError, UnicodeDecodeError):
        raise RemoteFailure("The server's list of exported files cannot be read.", permanent=True) from None
    return {"transactionTime": told.get("transactionTime"), **files}


def _described(one: Mapping[str, Any]) -> dict[str, str]:
    return {"type": str(one["type"]), "url": str(one["url"])}


def _moment(told: object) -> datetime | None:
    try:
        return parse_datetime(told) if isinstance(told, str) else None
    except Incorrect:
        return None


def _outcome(line: bytes) -> Received | Unusable:
    codes = outcome_codes(line)
    reason = f"The export left something out ({codes or 'no code'})."
    return intake.unusable("OperationOutcome", "", reason, line.decode("utf-8", "replace").replace("\0", "\ufffd"))


def _deleted(line: bytes, types: Sequence[str]) -> Iterator[tuple[str, str]]:
    for entry in read_entries(line):
        for type_ in types:
            if found := deletion_of(entry, type_):
                yield type_, found.remote_id


def _keep(follow: Follow, cursor: Cursor) -> None:
    with follow.database.begin() as tx:
        follow.hold(tx)
        cursors.save(tx, cursor)
