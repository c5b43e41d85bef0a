"""Links between the entries of a transaction: every place that names one by its full URL is given its real address.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from uuid import UUID

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import elements, is_resource
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.references import ReferenceKind, is_reference, parse_reference, walk_references

_VERSION = "/_history/"
_URNS = ("urn:uuid:", "urn:oid:")
_LINKED = frozenset({"uri", "url", "oid", "uuid"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_ATTRIBUTE = re.compile(r"""(?P<name>\b(?:href|src)\s*=\s*)(?P<quote>["'])(?P<url>[^"'<>]*)(?P=quote)""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a full URL stands for: `ref` is `Type/id`, `version` the one it has after the transaction, if known."""

    ref: str
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where the full URLs of a Bundle lead; a full URL below `base` (our own address) is kept without it.

    `conditional` holds what each conditional reference was found to mean.
    """

    base: str
    targets: Mapping[str, Target]
    conditional: Mapping[str, str]

    @cached_property
    def spellings(self) -> frozenset[str]:
        """Each full URL as it may be written outside references."""
        return frozenset(self.targets) | {f"{self.base}/{url}" for url in self.targets if ":" not in url}

    def reference(self, text: str, root: str) -> str:
        """A Reference.reference as it is to be stored; `root` is the base of the full URL of the entry it stands in."""
        local = local_form(text, self.base)
        found = self.conditional.get(local) or self._target(local)
        if found is None and root and ":" not in text and not text.startswith("#"):
            found = self._target(f"{root}/{text}")
        if found is None and local is not text and parse_reference(local).kind is not ReferenceKind.RELATIVE:
            return text
        return found or local

    def link(self, text: str) -> str | None:
        """What a uri or a link of a narrative is to say instead; None where it names no entry."""
        return self._target(local_form(text, self.base))

    def _target(self, text: str) -> str | None:
        whole, hash_, fragment = text.partition("#")
        address, slash, version = whole.partition(_VERSION)
        target = self.targets.get(address)
        if target is None:
            return None
        if slash:
            version = str(target.version) if target.version else version
        return target.ref + slash + version + hash_ + fragment


def local_form(text: str, base: str) -> str:
    """`text` without our own address before it."""
    return text[len(base) + 1 :] if text.startswith(base) and text[len(base) : len(base) + 1] == "/" else text


def root_of(full_url: str) -> str:
    """The base of a RESTful full URL such as `https://ehr.example/fhir/Patient/1`, else ""."""
    parts = full_url.rsplit("/", 2)
    return parts[0] if len(parts) == 3 and parts[0].startswith(("http://", "https://")) else ""


def relinked(resource: Resource, links: Links, root: str) -> Resource:
    """A copy in which references, uris and narratives name what `links` says; parts without a change are shared.

    Canonicals, the `url` that is a resource's own name, and Bundles inside the resource stay as they are. Raises
    Incorrect for a `urn:` reference that no entry of the Bundle has as its full URL.
    """
    if resource.get("resourceType") == "Bundle":
        return resource
    walk = _Pass(links, root)
    changed: Resource = walk.rewritten(resource, "")
    type_ = str(resource.get("resourceType"))
    if walk.dangling:
        path = next((path for path, one in walk_references(changed) if one["reference"] == walk.dangling), type_)
        raise Incorrect("This reference names no entry of the Bundle by its fullUrl.", expression=f"{path}.reference")
    return _typed(changed, type_, links) if walk.has_links else changed


def conditional_references(resource: Resource, base: str) -> dict[str, str]:
    """Local form -> first path of each Reference.reference that is a search such as `Patient?identifier=a|b`.

    What has a `?`, is no address and names no resource type is among them.
    """
    found: dict[str, str] = {}
    if resource.get("resourceType") == "Bundle":
        return found
    for path, reference in walk_references(resource):
        text = local_form(reference["reference"], base)
        if "?" in text and _is_condition(text):
            found.setdefault(text, f"{path}.reference")
    return found


def _is_condition(text: str) -> bool:
    kind = parse_reference(text).kind
    return kind is ReferenceKind.CONDITIONAL or (kind is ReferenceKind.OTHER and not _SCHEME.match(text))


class _Pass:
    """One walk that rewrites references and notices whether any other string could be a link."""

    def __init__(self, links: Links, root: str) -> None:
        self._links = links
        self._spellings = links.spellings
        self._root = root
        self.has_links = False
        self.dangling = ""

    def rewritten(self, value: Json, name: str) -> Json:
        return self._object(value, name) if type(value) is dict else self._list(value, name)

    def _list(self, value: list[Json], name: str) -> Json:
        items = []
        is_same = True
        for item in value:
            new = item
            kind = type(item)
            if kind is dict:
                new = self._object(item, name)
            elif kind is list:
                new = self._list(item, name)
            elif kind is str and item in self._spellings:
                self.has_links = True
            is_same = is_same and new is item
            items.append(new)
        return value if is_same else items

    def _object(self, value: Resource, name: str) -> Resource:
        if "resourceType" in value and value["resourceType"] == "Bundle":
            return value
        spellings = self._spellings
        fresh: Resource = {}
        for member_name, member in value.items():
            kind = type(member)
            if kind is str:
                if member_name == "reference" and is_reference(value, name):
                    text = self._reference(member)
                    if text != member:
                        fresh[member_name] = text
                elif member in spellings or (member_name == "div" and ("href" in member or "src" in member)):
                    self.has_links = True
            elif kind is dict or kind is list:
                new = self._object(member, member_name) if kind is dict else self._list(member, member_name)
                if new is not member:
                    fresh[member_name] = new
        return {**value, **fresh} if fresh else value

    def _reference(self, text: str) -> str:
        new = self._links.reference(text, self._root)
        if new.startswith(_URNS) and new == text:
            self.dangling = new
        return new


def _typed(value: Json, type_: str, links: Links) -> Json:
    """The slow and exact walk by element types, for the few resources that have links beside references."""
    if type(value) is list:
        return [_typed(item, type_, links) for item in value]
    if type(value) is str:
        return _linked_text(value, type_, links)
    if type(value) is not dict:
        return value
    name = value.get("resourceType")
    type_ = name if type(name) is str else type_
    if type_ == "Bundle":
        return value
    members = _members(type_)
    return {
        member_name: member if _is_name(type_, member_name) else _typed(member, members.get(member_name, ""), links)
        for member_name, member in value.items()
    }


def _is_name(type_: str, member: str) -> bool:
    return member == "url" and (type_ == "Extension" or is_resource(type_))


def _linked_text(text: str, type_: str, links: Links) -> str:
    if type_ == "xhtml":
        return _ATTRIBUTE.sub(lambda match: _attribute(match, links), text)
    found = links.link(text) if type_ in _LINKED else None
    if found is None:
        return text
    return _IN_FORM[type_](text, found)


def _attribute(match: re.Match[str], links: Links) -> str:
    found = links.link(html.unescape(match["url"]))
    return f"{match['name']}{match['quote']}{found}{match['quote']}" if found else match[0]


def _as_uuid(text: str, found: str) -> str:
    """The new id in the form that a `uuid` must have."""
    made = _uuid(found)
    return f"urn:uuid:{made}" if made else text


def _as_oid(text: str, found: str) -> str:
    """The new id as the OID that every UUID has, below 2.25."""
    made = _uuid(found)
    return f"urn:oid:2.25.{made.int}" if made else text


def _uuid(ref: str) -> UUID | None:
    try:
        return UUID(ref.rpartition("/")[2])
    except ValueError:
        return None


_IN_FORM: Mapping[str, Callable[[str, str], str]] = {
    "uri": lambda _, found: found,
    "url": lambda _, found: found,
    "uuid": _as_uuid,
    "oid": _as_oid,
}


@cache
def _members(type_: str) -> Mapping[str, str]:
    """JSON member -> type, of one complex type."""
    found: dict[str, str] = {}
    for name, element in elements(type_).items():
        base = name.removesuffix("[x]")
        for leaf in element.types:
            found[base + leaf[0].upper() + leaf[1:] if element.is_choice else name] = leaf
    return found
