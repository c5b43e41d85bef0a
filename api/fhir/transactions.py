"""Transactions: all entries of a Bundle, in the order that R4 gives them, or none.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from urllib.parse import urlencode

from api.fhir.actions import Finder
from api.fhir.auditing import record
from api.fhir.bundle_answers import LARGEST_ANSWER, entry_text, error_of, joined
from api.fhir.bundle_conditions import Condition, Conditions, condition
from api.fhir.bundle_entries import Entry, placed, read_entry
from api.fhir.conditional import several, take_turn
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.failing import repeated
from api.fhir.linking import may_have_conditions, of_reference, only
from api.fhir.negotiation import preference
from fhir_tracker import integrity, reach, records
from fhir_tracker.errors import (
    Conflict,
    Fault,
    Incorrect,
    NotFound,
    PreconditionFailed,
    RuleBroken,
    TooLarge,
    TrackerError,
)
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.bundle_references import (
    Links,
    Target,
    conditional_references,
    local_form,
    relinked,
    root_of,
)
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.query import NOT_FILTERS
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.late import late

_LAST = {"Task": 1, "Binary": 2}
"""What is written after the other entries, since those decide whose it is and what it may be."""


def process(request: FhirRequest, entries: tuple[Json, ...], find: Finder) -> FhirResponse:
    """The transaction-response, its entries in the order of the request.

    Raises the error of the first entry that fails, placed in the Bundle; then nothing was stored.
    """
    find = cache(find)
    request = request.having(bundle="transaction")
    read = [read_entry(request, entry, index, find) for index, entry in enumerate(entries)]
    run = _Run(request, read, find)

    def once() -> FhirResponse:
        nonlocal run
        run = _Run(request, read, find)
        with late(request.context.database) as tx:
            return run.answer(tx)

    def is_guarded() -> bool:
        return run.current is not None and run.current.is_guarded

    return repeated(once, is_guarded, "Others keep changing the resources of this Bundle; try again.")


class _Run:
    """One attempt; `current` is the entry at work, for who must know why it failed."""

    def __init__(self, request: FhirRequest, entries: list[Entry], find: Finder) -> None:
        self.current: Entry | None = None
        self._request = request
        self._entries = entries
        self._find = find
        self._answers: dict[int, FhirResponse] = {}
        self._places: dict[int, Target] = {}
        self._claimed: dict[str, int] = {}
        self._existing: set[int] = set()
        self._promised: set[str] = set()
        self._links = Links(base=request.base, targets={}, conditional={})
        self._size = 0

    def answer(self, tx: Tx) -> FhirResponse:
        """Do everything in this transaction; work comes after what it is about, whose dates its due time may need."""
        self._take_turns(tx)
        named = [one.ref for one in self._entries if one.action.writes and one.ref]
        resources.foresee(tx, self._request.viewer, named)
        conditions = Conditions(self._request, tx)
        deletes = [one for one in self._entries if one.method == "DELETE"]
        creates = [one for one in self._entries if one.action.interaction == "create"]
        changes = [one for one in self._entries if one.method in ("PUT", "PATCH")]
        conditions.look_up(_of_address(one) for one in deletes if one.is_conditional)
        for entry in deletes:
            self._place_change(tx, conditions, entry)
        for entry in sorted(deletes, key=self._place):
            self._act(tx, entry, entry.request)
        conditions = Conditions(self._request, tx)
        self._place_writes(tx, conditions, creates, changes)
        reach.promise(tx, self._promised)
        self._link([*creates, *changes])
        late = self._resolve(conditions, [*creates, *changes])
        ordered = sorted([*creates, *sorted(changes, key=self._place)], key=lambda one: _LAST.get(one.request.type, 0))
        for entry in ordered:
            if entry.index not in late:
                self._write(tx, entry)
        self._resolve_late(tx, late, ordered)
        self._check_unique(tx, creates, changes)
        self._check_unreferred(tx, deletes)
        for entry in self._entries:
            if entry.index not in self._answers:
                self._act(tx, entry, entry.request)
        self.current = None
        return self._joined(tx)

    def _joined(self, tx: Tx) -> FhirResponse:
        record(
            tx,
            self._request,
            AuditNote(action="transaction", ref="", detail={"entries": len(self._entries)}),
            "success",
        )
        wanted = preference(self._request.header("prefer"))
        texts = (entry_text(one.read_url, one.method, self._answers[one.index], wanted) for one in self._entries)
        return joined("transaction-response", texts)

    def _take_turns(self, tx: Tx) -> None:
        guarded = (one for one in self._entries if one.is_conditional or one.request.header("if-none-exist"))
        for type_ in sorted({one.request.type for one in guarded}):
            take_turn(tx, type_)

    def _place(self, entry: Entry) -> str:
        place = self._places.get(entry.index)
        return place.ref if place else ""

    def _place_writes(self, tx: Tx, conditions: Conditions, creates: list[Entry], changes: list[Entry]) -> None:
        """Decide which resource each entry is about, before any is written."""
        guarded = [one for one in creates if one.request.header("if-none-exist")]
        conditions.look_up([_of_create(one) for one in guarded])
        conditions.look_up([_of_address(one) for one in changes if one.is_conditional])
        for entry in creates:
            if not entry.request.header("if-none-exist"):
                self._place_new(conditions, entry)
        twins: dict[Condition, Target] = {}
        for entry in guarded:
            self._place_create(conditions, entry, twins)
        for entry in changes:
            self._place_change(tx, conditions, entry)
        conditional = [self._places[one.index].ref for one in changes if one.is_conditional]
        resources.foresee(tx, self._request.viewer, conditional)
        for entry in changes:
            if entry.index in self._places and entry.method == "PUT":
                conditions.add(self._places[entry.index].ref, _resource(entry))
        for entry in guarded:
            if entry.index in self._existing:
                self._claim(entry, self._places[entry.index].ref, shared=True)

    def _place_new(self, conditions: Conditions, entry: Entry) -> None:
        ref = f"{entry.request.type}/{records.fresh_id(self._request.now)}"
        self._places[entry.index] = Target(ref=ref, version=1)
        self._promised.add(ref)
        self._claim(entry, ref)
        conditions.add(ref, _resource(entry))

    def _place_create(self, conditions: Conditions, entry: Entry, twins: dict[Condition, Target]) -> None:
        """A conditional create: what is there already, what another entry with the same condition creates, or a new one."""
        wanted = _of_create(entry)
        found = self._found(conditions, entry, wanted)
        if len(found) > 1:
            raise self._refused(entry, several())
        if place := next(iter(found.values()), twins.get(wanted)):
            self._places[entry.index] = place
            self._existing.add(entry.index)
            return
        self._place_new(conditions, entry)
        twins[wanted] = self._places[entry.index]

    def _place_change(self, tx: Tx, conditions: Conditions, entry: Entry) -> None:
        if not entry.is_conditional:
            self._places[entry.index] = Target(ref=entry.ref)
            self._claim(entry, entry.ref)
            return
        found = self._found(conditions, entry, _of_address(entry))
        if len(found) > 1:
            raise self._refused(entry, several())
        if not found and entry.method == "PATCH":
            raise self._refused(entry, NotFound(f"No {entry.request.type} meets the condition."))
        if not found and entry.method == "DELETE":
            return
        ref = next(iter(found), None) or self._free_ref(tx, entry)
        self._places[entry.index] = Target(ref=ref)
        self._claim(entry, ref)

    def _free_ref(self, tx: Tx, entry: Entry) -> str:
        """Where a conditional update that found nothing creates: at the id in its body, if that is free."""
        type_, id_ = entry.request.type, _resource(entry).get("id")
        if type(id_) is not str:
            ref = f"{type_}/{records.fresh_id(self._request.now)}"
            self._promised.add(ref)
            return ref
        held = resources.find(tx, self._request.viewer, type_, id_)
        if held is not None and not held.deleted:
            message = "Nothing meets the condition, but the id in the body belongs to a resource."
            raise self._refused(entry, Conflict(message))
        return f"{type_}/{id_}"

    def _found(self, conditions: Conditions, entry: Entry, wanted: Condition) -> dict[str, Target]:
        self.current = entry
        try:
            return conditions.found(wanted)
        except TrackerError as error:
            raise self._refused(entry, error) from None

    def _claim(self, entry: Entry, ref: str, *, shared: bool = False) -> None:
        """Note that an entry is about a resource; two that change one cannot both be right."""
        other = self._claimed.setdefault(ref, entry.index)
        if other != entry.index and not (shared and self._entries[other].action.interaction == "create"):
            message = f"The Bundle names the same resource in entry {other}: each may come once."
            raise self._refused(entry, Incorrect(message))

    def _link(self, writes: list[Entry]) -> None:
        targets: dict[str, Target] = {}
        for entry in writes:
            url = local_form(entry.full_url, self._request.base)
            if not url or entry.method == "PATCH":
                continue
            place = self._places[entry.index]
            if url in targets:
                raise self._refused(entry, Incorrect("Another entry has the same fullUrl (bdl-7)."), "fullUrl")
            if entry.method == "PUT" and url is not entry.full_url and url != place.ref and not entry.is_conditional:
                raise self._refused(entry, Incorrect("fullUrl and request.url name different resources."), "fullUrl")
            targets[url] = place
        self._links = Links(base=self._request.base, targets=targets, conditional={})

    def _resolve(self, conditions: Conditions, writes: list[Entry]) -> dict[int, dict[str, str]]:
        """Resolve conditional references; those that only the store can answer after the writes are given back."""
        if not may_have_conditions(self._request.body):
            return {}
        asked = {
            entry.index: conditional_references(_resource(entry), self._request.base)
            for entry in writes
            if entry.index not in self._existing
        }
        wanted = {
            text: self._of_reference(entry, text, path)
            for entry in writes
            for text, path in asked.get(entry.index, {}).items()
        }
        conditions.look_up(wanted.values())
        patched = {one.request.type for one in writes if one.method == "PATCH"}
        written = {one.request.type for one in self._entries if one.action.writes}
        late: dict[int, dict[str, str]] = {}
        found: dict[str, str] = {}
        for entry in writes:
            for text, path in asked.get(entry.index, {}).items():
                one = wanted[text]
                is_known = one.identifier and one.type not in patched
                if text in found:
                    continue
                if is_known or not (one.is_chained or one.type in written):
                    found[text] = self._only(entry, path, self._found(conditions, entry, one))
                else:
                    late.setdefault(entry.index, {})[text] = path
        self._links = replace(self._links, conditional=found)
        return late

    def _resolve_late(self, tx: Tx, late: dict[int, dict[str, str]], ordered: list[Entry]) -> None:
        types = {self._entries[index].request.type for index in late}
        conditions = Conditions(self._request, tx)
        found: dict[str, str] = {}
        for index, texts in sorted(late.items()):
            entry = self._entries[index]
            for text, path in texts.items():
                one = of_reference(text, path)
                if one.is_chained or one.type in types:
                    message = "This condition depends on entries that wait for conditions: refer to them by fullUrl."
                    raise self._refused(entry, RuleBroken(message, expression=path))
                found[text] = self._only(entry, path, self._found(conditions, entry, one))
        self._links = replace(self._links, conditional={**self._links.conditional, **found})
        for entry in ordered:
            if entry.index in late:
                self._write(tx, entry)

    def _only(self, entry: Entry, path: str, found: Iterable[str]) -> str:
        try:
            return only(found, path, RuleBroken)
        except RuleBroken as error:
            raise self._refused(entry, error) from None

    def _of_reference(self, entry: Entry, text: str, path: str) -> Condition:
        try:
            return of_reference(text, path)
        except Incorrect as error:
            raise self._refused(entry, error) from None

    def _write(self, tx: Tx, entry: Entry) -> None:
        self.current = entry
        given = entry.request
        place = self._places[entry.index].ref
        id_ = place.partition("/")[2]
        if entry.index in self._existing:
            headers = {**given.headers, "if-none-exist": f"_id={id_}"}
            self._act(tx, entry, given.having(headers=headers))
            return
        try:
            resource = relinked(_resource(entry), self._links, root_of(entry.full_url))
        except TrackerError as error:
            raise self._refused(entry, error) from None
        if given.method == "POST":
            if given.header("if-none-exist"):
                given = given.having(headers={**given.headers, "if-none-exist": ""})
            self._act(tx, entry, given.having(id=id_, resource=resource))
            return
        if entry.is_conditional:
            path = (given.type, id_)
            given = given.having(path=path, id=id_, pairs=())
            entry = replace(entry, action=self._find(path)[0].actions[given.method])
            resource = {"id": id_, **resource} if given.method == "PUT" else resource
        is_patch = given.method == "PATCH" and resource["resourceType"] != "Binary"
        body = write_json(resource).encode() if is_patch else given.body
        self._act(tx, entry, given.having(resource=resource, body=body))

    def _act(self, tx: Tx, entry: Entry, given: FhirRequest) -> None:
        self.current = entry
        try:
            response = entry.action.handle(given, tx)
        except TrackerError as error:
            raise self._refused(entry, error) from error
        if response.status >= 400:
            raise self._refused(entry, error_of(response))
        self._size += len(response.body)
        if self._size > LARGEST_ANSWER:
            raise TooLarge(f"The answer would have more than {LARGEST_ANSWER} bytes.")
        if response.note:
            record(tx, given, response.note, "success")
        self._answers[entry.index] = response

    def _check_unique(self, tx: Tx, creates: list[Entry], changes: list[Entry]) -> None:
        """A condition that other entries of the Bundle came to meet as well has failed after all."""
        types = [one.request.type for one in (*creates, *changes)]
        wanted = [(one, _of_create(one)) for one in creates if one.request.header("if-none-exist")]
        wanted += [(one, _of_address(one)) for one in changes if one.is_conditional and one.method == "PUT"]
        conditions = Conditions(self._request, tx)
        for entry, asked in wanted:
            is_shared = asked.identifier is None and types.count(asked.type) > 1
            if is_shared and len(self._found(conditions, entry, asked)) > 1:
                raise self._refused(entry, PreconditionFailed("Other entries of the Bundle meet the condition too."))

    def _check_unreferred(self, tx: Tx, deletes: list[Entry]) -> None:
        """What was deleted is referred to by nothing that is there after all writes."""
        if not self._request.context.settings.referential_integrity:
            return
        removed = {self._place(one): one for one in deletes if "ETag" in self._answers[one.index].headers}
        refusals = integrity.refusals(tx, self._request.viewer, list(removed))
        for ref, entry in removed.items():
            if ref in refusals:
                raise self._refused(entry, refusals[ref])

    def _refused(self, entry: Entry, error: TrackerError, element: str = "") -> TrackerError:
        self.current = entry
        moved = placed(error, entry.index, entry.request.type)
        if element:
            issues = tuple(replace(one, expression=f"{one.expression}.{element}") for one in moved.issues)
            moved = type(moved)(moved.message, issues=issues)
        return moved


def _resource(entry: Entry) -> Resource:
    if entry.request.resource is None:
        raise Fault("An entry that writes has no resource.")
    return entry.request.resource


def _of_create(entry: Entry) -> Condition:
    text = entry.request.header("if-none-exist").strip()
    return condition(entry.request.type, local_form(text, entry.request.base))


def _of_address(entry: Entry) -> Condition:
    pairs = [pair for pair in entry.request.pairs if pair[0] not in NOT_FILTERS]
    return condition(entry.request.type, urlencode(pairs))
