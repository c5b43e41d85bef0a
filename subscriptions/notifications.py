"""What a notification says, whichever of its many bodies it has: read leniently, for it is only a hint of where to look.

http://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html
https://hl7.org/fhir/R4/subscription.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.definitions.registry import resource_types

LONGEST_NUMBER = 15
MOST_EVENTS = 1000
MEDPLUM_DELETED = "x-medplum-deleted-resource"
_REFERENCE = re.compile(
    r"(?:\S*/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[^/?#\s]{1,255})(?:/_history/(?P<version>[^/?#\s]+))?"
)
_ETAG = re.compile(r'(?:W/)?"(?P<version>[^"]{1,64})"')


@dataclass(frozen=True, kw_only=True)
class Hint:
    """A resource that may have changed, or was deleted (`gone`); `version` is "" where it was not told."""

    type: str
    remote_id: str
    version: str = ""
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class Event:
    """One numbered event; `mark` is the same for each delivery of it, `hints` are empty where content is."""

    number: int
    mark: str
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Notification:
    """`kind` is handshake, heartbeat, event or bare (something has changed, and that is all); `since` the count of events.

    `status` is what the server says of the Subscription, "" where it does not. `cut` says that it named more than was taken.
    """

    kind: str
    hints: tuple[Hint, ...] = ()
    events: tuple[Event, ...] = ()
    since: int | None = None
    status: str = ""
    cut: bool = False

    @property
    def is_handshake(self) -> bool:
        return self.kind == "handshake"


BARE = Notification(kind="bare")
_KINDS = {
    "handshake": "handshake",
    "heartbeat": "heartbeat",
    "event-notification": "event",
    "query-event": "event",
    "query-status": "heartbeat",
}


def read_notification(
    method: str, place: tuple[str, str], headers: Mapping[str, str], body: bytes, *, max_bytes: int
) -> Notification:
    """What a request to our hook says; `place` is type and id from its address, ("", "") without. Never refuses anything."""
    deleted = _reference(headers.get(MEDPLUM_DELETED, ""), gone=True)
    if deleted is not None:
        return Notification(kind="event", hints=(deleted,))
    value = _object(body, max_bytes)
    type_, remote_id = place
    if type_:
        return Notification(kind="event", hints=(_placed(method, type_, remote_id, headers, value),))
    if value.get("resourceType") == "Bundle":
        return read_bundle(value)
    alone = _of_resource(value)
    return Notification(kind="event", hints=(alone,)) if alone else BARE


def read_bundle(bundle: Mapping[str, Any]) -> Notification:
    """A notification Bundle: R4 with Parameters first, R4B and R5 with SubscriptionStatus first, or a plain one."""
    told = [one for one in _list(bundle.get("entry")) if isinstance(one, dict)]
    entries, is_cut = told[: MOST_EVENTS + 1], len(told) > MOST_EVENTS + 1
    statuses = [found for one in entries if (found := _status_of(_dict(one.get("resource"))))]
    if not statuses:
        hints = tuple(hint for one in entries if (hint := _of_entry(one)))
        return Notification(kind="event", hints=hints, cut=is_cut) if hints else BARE
    status = statuses[0]
    kind = _KINDS.get(_text(status.get("type")), "bare")
    numbered = _list(status.get("notificationevent"))
    events = tuple(_event(one) for one in numbered[:MOST_EVENTS] if isinstance(one, dict))
    loose = () if kind != "event" or any(one.hints for one in events) else _loose(entries)
    return Notification(
        kind=kind,
        hints=loose,
        events=events if kind == "event" else (),
        since=_number(status.get("eventssincesubscriptionstart")),
        status=_text(status.get("status")),
        cut=kind == "event" and (len(numbered) > MOST_EVENTS or (bool(loose) and is_cut)),
    )


def _placed(method: str, type_: str, remote_id: str, headers: Mapping[str, str], value: Mapping[str, Any]) -> Hint:
    if method == "DELETE":
        return Hint(type=type_, remote_id=remote_id, gone=True)
    told = _of_resource(value)
    if told is not None and (told.type, told.remote_id) == (type_, remote_id) and told.version:
        return told
    etag = _ETAG.fullmatch(headers.get("if-match", "").strip())
    return Hint(type=type_, remote_id=remote_id, version=etag["version"] if etag else "")


def _loose(entries: Iterable[Mapping[str, Any]]) -> tuple[Hint, ...]:
    """What the other entries are about, where the events themselves do not say it."""
    return tuple(hint for one in entries if not _status_of(_dict(one.get("resource"))) and (hint := _of_entry(one)))


def _status_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a status by their names in small letters without hyphens; empty when it is none."""
    if resource.get("resourceType") == "SubscriptionStatus":
        return {_plain(name): _members(member) for name, member in resource.items()}
    if resource.get("resourceType") != "Parameters":
        return {}
    found = _parameters(_list(resource.get("parameter")))
    return found if "type" in found and "subscription" in found else {}


def _members(value: Any) -> Any:
    if isinstance(value, list):
        return [{_plain(name): one for name, one in item.items()} for item in value if isinstance(item, dict)]
    return value


def _parameters(parameters: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in parameters:
        if not isinstance(one, dict):
            continue
        name = _plain(_text(one.get("name")))
        if name == "notificationevent":
            found.setdefault(name, []).append(_parameters(_list(one.get("part"))))
        else:
            found.setdefault(name, next((one[key] for key in one if key.startswith("value")), None))
    return found


def _event(told: Mapping[str, Any]) -> Event:
    focus = _dict(told.get("focus"))
    hint = _reference(_text(focus.get("reference")))
    number = _number(told.get("eventnumber"))
    said = f"{_text(told.get('timestamp'))}|{hint or _dict(focus.get('identifier'))}"
    mark = hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:12]
    return Event(number=number or 0, mark=mark, hints=(hint,) if hint else ())


def _of_entry(entry: Mapping[str, Any]) -> Hint | None:
    request = _dict(entry.get("request"))
    gone = _text(request.get("method")).upper() == "DELETE"
    told = None if gone else _of_resource(_dict(entry.get("resource")))
    return (
        told or _reference(_text(request.get("url")), gone=gone) or _reference(_text(entry.get("fullUrl")), gone=gone)
    )


def _of_resource(resource: Mapping[str, Any]) -> Hint | None:
    type_, remote_id = _text(resource.get("resourceType")), _text(resource.get("id"))
    version = _dict(resource.get("meta")).get("versionId")
    return _reference(f"{type_}/{remote_id}" + (f"/_history/{version}" if isinstance(version, str | int) else ""))


def _reference(text: str, *, gone: bool = False) -> Hint | None:
    match = _REFERENCE.fullmatch(text)
    if match is None or match["type"] not in resource_types() or not text.isprintable():
        return None
    return Hint(type=match["type"], remote_id=match["id"], version=(match["version"] or "")[:64], gone=gone)


def _object(body: bytes, max_bytes: int) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        return _dict(read_json(body, max_bytes=max_bytes))
    except Incorrect:
        return {}


def _number(value: object) -> int | None:
    """A count, sent as a number or as text; None for what is none."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def _plain(name: str) -> str:
    return name.replace("-", "").lower()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
