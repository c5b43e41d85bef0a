"""The entries of a transaction or batch, each as the request that it would be by itself.

https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote

from api.fhir.actions import Action, Finder
from api.fhir.exchange import FhirRequest, Pairs
from api.fhir.negotiation import check_content_type, http_date, preference
from fhir_tracker.errors import Incorrect, Issue, MethodNotAllowed, NotFound, TooLarge, TrackerError
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.bundle_references import local_form
from fhir_tracker.fhir.checks import check, require_valid
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.json_types import Json, Resource, kind

MOST_ENTRIES = 5000
MOST_PARAMETERS = 200
_FHIR_JSON = "application/fhir+json"
_PROCESSED = ("transaction", "batch")
_USUAL = frozenset({"fullUrl", "resource", "request"})
_ASKED = frozenset({"method", "url"})
_PLAIN_HEADERS: Mapping[str, str] = {"content-type": _FHIR_JSON}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_PLAIN = re.compile(r"[\x21-\x7e]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WHOLE = frozenset({"create", "update"})
"""The interactions that take an entry's resource as it was read; others take it as the text of a body."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry: `request` is what it asks, `action` what answers that."""

    index: int
    full_url: str
    request: FhirRequest
    action: Action

    @property
    def method(self) -> str:
        """The HTTP verb."""
        return self.request.method

    @property
    def ref(self) -> str:
        """The `Type/id` its address names, or ""."""
        return f"{self.request.type}/{self.request.id}" if self.request.id else ""

    @property
    def read_url(self) -> str:
        """The address of the resource it reads, "" where it does not read one."""
        return f"{self.request.base}/{self.ref}" if self.action.interaction in ("read", "vread") else ""

    @property
    def is_conditional(self) -> bool:
        """Whether its address names the resource by a search."""
        return self.action.writes and self.method != "POST" and not self.request.id

    @property
    def is_guarded(self) -> bool:
        """Whether its caller set a condition: then a conflict is the answer and no reason to try again."""
        names = ("if-match", "if-none-match", "if-none-exist")
        return self.is_conditional or any(self.request.header(name) for name in names)


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A Bundle to be processed: its type and the entries as JSON."""

    type: str
    entries: tuple[Json, ...]


def read_bundle(request: FhirRequest) -> Incoming:
    """The Bundle of a request; raises Incorrect for one that is not to be processed, TooLarge for too many entries."""
    check_content_type(request.header("content-type"))
    bundle = read_resource(request.body, max_bytes=request.context.settings.body_limit)
    if bundle["resourceType"] != "Bundle":
        raise Incorrect(
            "Only a Bundle can be posted here; create other resources at [base]/Type.", expression="resourceType"
        )
    require_valid({name: value for name, value in bundle.items() if name != "entry"})
    if bundle["type"] not in _PROCESSED:
        raise Incorrect(
            f"A Bundle of type {bundle['type']} is not processed here: send a transaction or a batch, or create it as a "
            "resource at [base]/Bundle.",
            expression="Bundle.type",
        )
    if "total" in bundle:
        raise Incorrect("A total belongs to a searchset or a history only (bdl-1).", expression="Bundle.total")
    entries = bundle.get("entry", [])
    if type(entries) is not list or ("entry" in bundle and not entries):
        raise Incorrect("Bundle.entry must be an array that is not empty; leave it out.", expression="Bundle.entry")
    if len(entries) > MOST_ENTRIES:
        raise TooLarge(f"The Bundle has {len(entries)} entries; the limit is {MOST_ENTRIES}.")
    return Incoming(type=bundle["type"], entries=tuple(entries))


def read_entry(request: FhirRequest, entry: Json, index: int, find: Finder) -> Entry:
    """The entry as a request; raises a TrackerError whose issues name its place in the Bundle."""
    try:
        return _read_entry(request, entry, index, find)
    except TrackerError as error:
        raise placed(error, index, "") from None


def placed(error: TrackerError, index: int, type_: str) -> TrackerError:
    """The same error, its issues placed in an entry of the Bundle; `type_` is the type of the entry's resource."""
    place = f"Bundle.entry[{index}]"
    issues = tuple(_placed(issue, place, type_) for issue in error.issues)
    message = error.message if error.message.startswith(place) else f"{place}: {error.message}"
    return type(error)(message, issues=issues)


def _placed(issue: Issue, place: str, type_: str) -> Issue:
    path = issue.expression or ""
    if not path.startswith("Bundle.entry["):
        head, dot, rest = path.partition(".")
        path = f"{place}.resource{dot}{rest}" if type_ and head.partition("[")[0] == type_ else place
    message = issue.message if place in issue.message else f"{place}: {issue.message}"
    return replace(issue, message=message, expression=path)


def _read_entry(request: FhirRequest, entry: Json, index: int, find: Finder) -> Entry:
    place = f"Bundle.entry[{index}]"
    if type(entry) is not dict:
        raise Incorrect(f"{place} is {kind(entry)}; it must be an object.", expression=place)
    if type(entry.get("request")) is not dict:
        raise Incorrect(
            f"{place}.request is missing; it says what to do with the entry.", expression=f"{place}.request"
        )
    for name in ("search", "response"):
        if name in entry:
            raise Incorrect(f"{place}.{name} belongs to answers, not to requests.", expression=f"{place}.{name}")
    _check_request(entry, index)
    full_url = entry.get("fullUrl", "")
    if "/_history/" in full_url:
        raise Incorrect("A fullUrl never names a version (bdl-8).", expression=f"{place}.fullUrl")
    given, action = _addressed(request, entry, place, find)
    return Entry(index=index, full_url=full_url, request=given, action=action)


def _check_request(entry: Resource, index: int) -> None:
    """The shape of everything but the resource, which its own handler checks."""
    if _is_plain(entry, entry["request"]):
        return
    shell = {name: value for name, value in entry.items() if name != "resource"}
    issues = check({"resourceType": "Bundle", "type": "batch", "entry": [shell]})
    if issues:
        place = f"Bundle.entry[{index}]"
        moved = tuple(
            replace(
                issue,
                message=issue.message.replace("Bundle.entry[0]", place),
                expression=(issue.expression or "").replace("Bundle.entry[0]", place),
            )
            for issue in issues
        )
        raise Incorrect(moved[0].message, issues=moved)


def _is_plain(entry: Resource, asked: Resource) -> bool:
    """Whether it has only what most entries have, all of it well-formed."""
    if not (entry.keys() <= _USUAL and asked.keys() == _ASKED):
        return False
    full_url, url, method = entry.get("fullUrl", "urn:"), asked["url"], asked["method"]
    if not (type(full_url) is type(url) is type(method) is str and method in _METHODS):
        return False
    return _PLAIN.fullmatch(full_url) is not None and (url in resource_types() or _PLAIN.fullmatch(url) is not None)


def _addressed(request: FhirRequest, entry: Resource, place: str, find: Finder) -> tuple[FhirRequest, Action]:
    asked = entry["request"]
    path, query = _split(asked["url"], request.base, f"{place}.request.url")
    method = asked["method"]
    if not path and method == "POST":
        raise Incorrect("A Bundle cannot be an entry to be processed itself.", expression=f"{place}.request.url")
    route, parts = find(path)
    action = route.actions.get("GET" if method == "HEAD" else method)
    if action is None:
        raise MethodNotAllowed(
            f"{method} is not supported at this address: it takes {route.allowed}.",
            expression=f"{place}.request.method",
        )
    if "id" in parts and not is_legal_id(parts["id"]):
        wrong = Incorrect if method == "PUT" else NotFound
        raise wrong("The id in the address is not a FHIR id.", expression=f"{place}.request.url")
    given = request.having(
        method=method,
        path=path,
        pairs=_pairs(query, f"{place}.request.url"),
        headers=_headers(request, asked),
        body=b"",
        resource=_resource(method, action, entry.get("resource"), place),
        type=parts.get("type", ""),
        id=parts.get("id", ""),
        version=parts.get("version", ""),
    )
    if given.resource is None or action.interaction in _WHOLE:
        return given, action
    return _with_body(given, given.resource, place), action


def _split(url: str, base: str, place: str) -> tuple[tuple[str, ...], str]:
    """Path and query of an address below our own base, written as a whole or without it."""
    if url in resource_types():
        return (url,), ""
    text = "" if url == base else local_form(url, base)
    if text.startswith(f"{base}?"):
        text = text[len(base) :]
    path, _, query = text.partition("?")
    if "#" in text or "\\" in path or path.startswith("//") or _SCHEME.match(path):
        raise Incorrect("The url is no address of this server: use Type, Type/id or Type?search.", expression=place)
    bare = unquote(path.removeprefix("/").removesuffix("/"))
    return (tuple(bare.split("/")) if bare else ()), query


def _pairs(query: str, place: str) -> Pairs:
    if not query:
        return ()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise Incorrect("The parameters of the url cannot be read.", expression=place) from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Incorrect("A parameter holds the character U+0000.", expression=place)
    return tuple(pairs)


def _headers(request: FhirRequest, asked: Resource) -> Mapping[str, str]:
    is_strict = preference(request.header("prefer")).strict
    if asked.keys() == _ASKED and not is_strict:
        return _PLAIN_HEADERS
    headers = {"content-type": _FHIR_JSON}
    if is_strict:
        headers["prefer"] = "handling=strict"
    for element, name in (
        ("ifMatch", "if-match"),
        ("ifNoneMatch", "if-none-match"),
        ("ifNoneExist", "if-none-exist"),
    ):
        if element in asked:
            headers[name] = asked[element]
    if "ifModifiedSince" in asked:
        headers["if-modified-since"] = http_date(parse_datetime(asked["ifModifiedSince"]))
    return headers


def _resource(method: str, action: Action, resource: Json, place: str) -> Resource | None:
    if resource is None:
        if method in ("PUT", "PATCH") or action.interaction in _WHOLE:
            raise Incorrect(f"{place}.resource is missing; {method} needs one.", expression=f"{place}.resource")
        return None
    if type(resource) is not dict:
        raise Incorrect(f"{place}.resource is {kind(resource)}; it must be a resource.", expression=f"{place}.resource")
    if method in ("GET", "HEAD", "DELETE"):
        raise Incorrect(f"{method} takes no resource.", expression=f"{place}.resource")
    name = resource.get("resourceType")
    if type(name) is not str or name not in resource_types():
        raise Incorrect("The `resourceType` is not one of FHIR R4.", expression=f"{place}.resource.resourceType")
    return resource


def _with_body(given: FhirRequest, resource: Resource, place: str) -> FhirRequest:
    if given.method == "PATCH" and resource["resourceType"] == "Binary":
        return _with_binary(given, resource, place)
    return given.having(body=write_json(resource).encode())


def _with_binary(given: FhirRequest, resource: Resource, place: str) -> FhirRequest:
    """A patch that is not FHIR itself comes as a Binary: its content is the body."""
    content_type, data = resource.get("contentType"), resource.get("data")
    if type(content_type) is not str or type(data) is not str:
        raise Incorrect("A patch in a Binary needs contentType and data.", expression=f"{place}.resource")
    try:
        body = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Incorrect("The data is not base64.", expression=f"{place}.resource.data") from None
    return given.having(headers={**given.headers, "content-type": content_type}, body=body)
