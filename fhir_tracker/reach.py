"""What a writer may reach and change: rights on the resource before and after, field rules, and what nobody can forge.

Who hides behind nobody: what is not reached is not there, in the same words. https://hl7.org/fhir/smart-app-launch/STU2.2/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from fhir_tracker.errors import Forbidden, Issue, NotFound
from fhir_tracker.fhir.field_rules import Rules, elements_at, is_only_cut, refuse, restored
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, walk_references
from fhir_tracker.model.author import Author
from fhir_tracker.model.sight import Sight
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import resources, staff
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.scope import SHARED

_SYSTEM: Final = worker_viewer("reach")
_WORDS: Final = {"c": "create", "r": "read", "u": "change", "d": "delete", "s": "search"}
_NOBODYS: Final = SHARED | {"Device", "Group"}
"""Types that may be referred to by anybody: they tell nothing about a patient."""
SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "Task": ("requester",),
    "Communication": ("sender",),
    "CommunicationRequest": ("requester",),
    "CarePlan": ("author",),
    "Flag": ("author",),
    "QuestionnaireResponse": ("author",),
    "ChargeItem": ("enterer",),
}
"""Elements by which somebody says who they are."""
_PROMISED: Final = "promised"
_PATIENTS_OWN: Final = frozenset({"Patient", "RelatedPerson"})
_BY_PATIENT: Final = frozenset(
    {"status", "statusReason", "output", "businessStatus", "lastModified", "meta", "text", "id", "resourceType"}
)
"""What of a Task a patient, or who acts for one, may change."""


def is_limited(author: Author) -> bool:
    """Whether the writer is somebody with limits, and not the tracker itself or anybody on a server without login."""
    return author.asked is not None


def require(tx: Tx, author: Author, right: str, ref: str) -> None:
    """Raise NotFound or Forbidden unless the writer reaches `Type/id`, which is there, by a right."""
    if (
        is_limited(author)
        and not is_free(author.limits, right, _type(ref))
        and ref not in _reached(tx, author, right, ref)
    ):
        _refuse(tx, author, right, ref)


def require_stored(tx: Tx, author: Author, right: str, before: Stored) -> None:
    """As `require`; what was deleted is reached where a way leads to its patient."""
    if not before.deleted:
        require(tx, author, right, before.ref)
    elif is_limited(author):
        limits = author.limits
        ways = limits.sight.ways(right, before.type)
        ours = [way for way in ways if way.patient in (None, before.patient)]
        if not ours or limits.patient not in (None, before.patient):
            _refuse(tx, author, right, before.ref)


def require_type(author: Author, right: str, type_: str) -> None:
    """Raise Forbidden unless the writer has a right on anything of a type: before anything tells what there is of it."""
    if is_limited(author) and not author.limits.sight.may(right, type_):
        raise Forbidden(f"Neither your role nor your scopes let you {_WORDS[right]} a {type_} here.")


def sees(tx: Tx, author: Author, ref: str) -> bool:
    """Whether the writer may read `Type/id`, which is there."""
    return not is_limited(author) or ref in _reached(tx, author, "r", ref)


def right_to_make(author: Author, *, by_update: bool) -> str:
    """The letter by which a writer makes something new; a system's scopes let updates do so, roles do not.

    https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-fhir-resources
    """
    return "u" if by_update and is_limited(author) and author.limits.who.startswith("Device/") else "c"


def require_new(author: Author, type_: str, id_: str = "", *, by_update: bool = False) -> None:
    """Raise NotFound or Forbidden unless the writer may make a resource of a type, under an id of their own choice.

    Who sees a part only may not: they would learn which ids the rest has.
    """
    if not is_limited(author):
        return
    if id_ and not is_free(author.limits, "u", type_):
        raise NotFound(f"There is no {type_} with this id.")
    require_type(author, right_to_make(author, by_update=by_update), type_)


def require_still(tx: Tx, author: Author, right: str, ref: str) -> None:
    """Raise Forbidden when what was written is no more, or not, what the writer reaches by that right."""
    if (
        is_limited(author)
        and not is_free(author.limits, right, _type(ref))
        and ref not in _reached(tx, author, right, ref)
    ):
        raise _not_among(right, ref)


def require_known(tx: Tx, author: Author, right: str, before: Stored | None, after: Stored) -> None:
    """Raise Forbidden, as for a patient who is restricted, where something was given to a patient who is not there."""
    patient = after.patient
    if not is_limited(author) or author.limits.sight.sees_restricted or after.type == "Patient" or patient is None:
        return
    ref = f"Patient/{patient}"
    if (before is None or before.patient != patient) and not is_promised(tx, ref):
        found = resources.find(tx, _SYSTEM, "Patient", patient)
        if found is None or found.deleted:
            raise _not_among(right, after.ref)


def _not_among(right: str, ref: str) -> Forbidden:
    type_ = _type(ref)
    message = f"A {type_} like this is not among those that you may {_WORDS[right]}."
    return Forbidden(message, issues=(Issue(message=message, code="forbidden", expression=type_),))


def is_free(viewer: Viewer, right: str, type_: str) -> bool:
    """Whether all there is of a type is reached by a right, so that nothing has to be asked."""
    return viewer.patient is None and _is_free(viewer.sight, right, type_)


@lru_cache(maxsize=16_384)
def _is_free(sight: Sight, right: str, type_: str) -> bool:
    is_whole = sight.sees_restricted and not sight.is_bounded
    return is_whole and any(way.is_free for way in sight.ways(right, type_))


@lru_cache(maxsize=256)
def rules_of(sight: Sight) -> Rules:
    """What a viewer with this sight is not shown."""
    return Rules(hidden=sight.hidden, readable=lambda type_: sight.may("r", type_))


def promise(tx: Tx, refs: Iterable[str]) -> None:
    """Let what is written in this transaction refer to these (`Type/id`), which it makes later under ids of the server's."""
    tx.here[_PROMISED] = frozenset(refs) | tx.here.get(_PROMISED, frozenset())


def is_promised(tx: Tx, ref: str) -> bool:
    """Whether `Type/id` is one that `promise` told of: an id that the writer did not choose."""
    return ref in tx.here.get(_PROMISED, frozenset())


def accepted(tx: Tx, author: Author, before: Resource | None, after: Resource) -> Resource:
    """What is stored where the writer sends `after` for `before` (None: it is new): what is hidden or not theirs to say stays.

    Raises Forbidden that names each element which this writer may not set or change.
    """
    if not is_limited(author):
        return after
    viewer = author.limits
    if before is None and "meta" not in after and _takes_as_sent(viewer, after["resourceType"]):
        return after
    made = _new(viewer, after) if before is None else _changed(viewer, before, after)
    made = _with_meta(before, made)
    _check_signed(tx, viewer, before, made)
    if viewer.who.partition("/")[0] in _PATIENTS_OWN and before is not None and made["resourceType"] == "Task":
        names = sorted(name for name in {*before, *made} if before.get(name) != made.get(name))
        refuse(
            "Task", [one for one in names if one.removeprefix("_") not in _BY_PATIENT], "is not a patient's to change."
        )
    _check_references(tx, author, before, made)
    return _signed(viewer, made) if before is None else made


def _takes_as_sent(viewer: Viewer, type_: str) -> bool:
    """Whether nothing below concerns what a viewer sends of a type: a system that is confined to no patient and to no fields."""
    sight = viewer.sight
    is_bound = sight.hides or sight.fixes or locked_to(viewer, type_) is not None
    return not is_bound and viewer.who.startswith("Device/")


def check_fixed(viewer: Viewer, before: Resource, after: Resource) -> None:
    """Raise Forbidden that names each element which is changed and may not be by this viewer's role."""
    type_ = before["resourceType"]
    fixed = viewer.sight.fixed(type_)
    if fixed:
        was, now = elements_at(before, fixed), elements_at(after, fixed)
        changed = [path for path in sorted(fixed) if was.get(path) != now.get(path)]
        refuse(type_, changed, "cannot be changed by your role.")


def _new(viewer: Viewer, resource: Resource) -> Resource:
    if not viewer.sight.hides and not viewer.sight.fixes:
        return resource
    type_ = resource["resourceType"]
    refuse(type_, elements_at(resource, viewer.sight.hidden(type_)), "cannot be set by who may not see it.")
    refuse(type_, elements_at(resource, viewer.sight.fixed(type_)), "cannot be set by your role.")
    return resource


def _changed(viewer: Viewer, before: Resource, after: Resource) -> Resource:
    if viewer.sight.hides:
        bare = is_only_cut(after)
        after = restored(before, after if bare is None else bare, rules_of(viewer.sight))
    check_fixed(viewer, before, after)
    return after


def _with_meta(before: Resource | None, after: Resource) -> Resource:
    """`after` with the source that is stored, and with every security label that is."""
    held, given = (one.get("meta") if one else None for one in (before, after))
    held, given = held if isinstance(held, dict) else {}, given if isinstance(given, dict) else {}
    meta = {name: value for name, value in given.items() if name.removeprefix("_") != "source"}
    meta |= {name: held[name] for name in ("source", "_source") if name in held}
    labels, added = objects_at(held, "security"), objects_at(given, "security")
    kept = [*labels, *(one for one in added if one not in labels)]
    meta |= {"security": kept} if kept else {}
    if meta == given:
        return after
    return after | {"meta": meta} if meta else {name: value for name, value in after.items() if name != "meta"}


def _check_signed(tx: Tx, viewer: Viewer, before: Resource | None, after: Resource) -> None:
    """A person signs as nobody else; a system may say for whom it acts, and the trail says that it did."""
    if viewer.who.startswith("Device/"):
        return
    type_, old = after["resourceType"], before or {}
    changed = [name for name in SIGNED.get(type_, ()) if name in after and after[name] != old.get(name)]
    forged = [name for name in changed if not _is_own(tx, viewer, text_at(after, name, "reference"))]
    known = objects_at(old, "note")
    added = [one for one in objects_at(after, "note") if one not in known]
    if any(not _is_own_note(tx, viewer, one) for one in added):
        forged.append("note.author[x]")
    refuse(type_, forged, "names somebody else than you.")


def _is_own(tx: Tx, viewer: Viewer, reference: str | None) -> bool:
    return reference is not None and (reference == viewer.who or staff.person_behind(tx, reference) == viewer.who)


def _is_own_note(tx: Tx, viewer: Viewer, note: Resource) -> bool:
    is_named = any(name.removeprefix("_").startswith("author") for name in note)
    return not is_named or _is_own(tx, viewer, text_at(note, "authorReference", "reference"))


def _signed(viewer: Viewer, resource: Resource) -> Resource:
    """A new Task with who asked for it, where that is a person."""
    if resource["resourceType"] != "Task" or "requester" in resource or viewer.who.startswith("Device/"):
        return resource
    return resource | {"requester": {"reference": viewer.who}}


def _check_references(tx: Tx, author: Author, before: Resource | None, after: Resource) -> None:
    """Who is confined to a patient refers to nothing of another one, nor to what is not there: both are the same to them."""
    lock = locked_to(author.limits, after["resourceType"])
    if lock is None:
        return
    old = {one["reference"] for _, one in walk_references(before)} if before else set()
    asked = {
        path: ref
        for path, one in walk_references(after)
        if (ref := _local(one["reference"])) and one["reference"] not in old
    }
    asked = {
        path: ref for path, ref in asked.items() if ref.partition("/")[0] not in _NOBODYS and ref != f"Patient/{lock}"
    }
    there = resources.find_many(tx, _SYSTEM, set(asked.values()))
    for path, ref in asked.items():
        found = there.get(ref)
        if found is None and is_promised(tx, ref) and not ref.startswith("Patient/"):
            continue
        if found is None or found.patient != lock:
            message = f"{path}.reference names nothing that you may refer to."
            raise Forbidden(message, issues=(Issue(message=message, code="forbidden", expression=f"{path}.reference"),))


def locked_to(viewer: Viewer, type_: str) -> str | None:
    """The patient to whom the viewer is confined in what they write of a type; None where that is nobody."""
    return viewer.patient or _confined(viewer.sight, type_)


@lru_cache(maxsize=16_384)
def _confined(sight: Sight, type_: str) -> str | None:
    patients = {way.patient for right in "cu" for way in sight.ways(right, type_)}
    return patients.pop() if len(patients) == 1 else None


def _local(reference: Json) -> str | None:
    parsed = parse_reference(reference) if isinstance(reference, str) else None
    return f"{parsed.type}/{parsed.id}" if parsed and parsed.kind is ReferenceKind.RELATIVE else None


def _reached(tx: Tx, author: Author, right: str, ref: str) -> frozenset[str]:
    return resources.reached(tx, author.limits, right, [ref])


def _refuse(tx: Tx, author: Author, right: str, ref: str) -> None:
    type_ = _type(ref)
    if right != "r" and ref in _reached(tx, author, "r", ref):
        raise Forbidden(f"Neither your role nor your scopes let you {_WORDS[right]} this {type_}.")
    raise NotFound(f"There is no {type_} with this id.")


def _type(ref: str) -> str:
    return ref.partition("/")[0]
