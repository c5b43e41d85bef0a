"""Extensions: an address, and for those that R4 defines where they stand, what value they have, and what is in them.

https://hl7.org/fhir/R4/extensibility.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from fhir_tracker.fhir.checks_findings import Findings
from fhir_tracker.fhir.checks_shapes import Slot
from fhir_tracker.fhir.definitions.registry import (
    ExtensionDefinition,
    ancestors,
    elements,
    extension_definition,
    value_set,
)
from fhir_tracker.fhir.invariants.compiler import Test, compile_test
from fhir_tracker.fhir.invariants.syntax import NotCompilable, parse
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import SCHEME

_INNER = re.compile(r"\.(?:extension|modifierExtension)\[\d+\]\.extension\[\d+\]$")
_STEP = re.compile(r"\.(\w+)(?:\[(\d+)\])?")
_BASES = {
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("url", "canonical", "oid", "uuid"), "uri"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
}
_ANYWHERE = frozenset({"Element", "Any"})


def check_extension(found: Findings, slot: Slot, value: Resource, path: str) -> None:
    """What is asked of one extension beyond its shape; `path` is its own."""
    url = value.get("url")
    if type(url) is not str or not url:
        return
    known = extension_definition(url)
    if known is not None:
        _known(found, known, value, path)
    elif " " not in url and not SCHEME.match(url) and not _INNER.search(path):
        found.add(f"{path}.url", "is not absolute; only the extensions within an extension have a plain name", "value")


def _known(found: Findings, known: ExtensionDefinition, value: Resource, path: str) -> None:
    if path.rpartition(".")[2].startswith("modifierExtension") is not known.is_modifier:
        right = "modifierExtension" if known.is_modifier else "extension"
        found.add(path, f"is an extension that R4 defines for {right}", "structure")
    _place(found, known, path)
    _content(found, known, value, path)


def _content(found: Findings, known: ExtensionDefinition, value: Resource, path: str) -> None:
    """Its value and its parts."""
    name = next((one for one in value if one.startswith("value")), None)
    inner = value.get("extension")
    if name is not None:
        _value(found, known, name, value[name], path)
    elif known.needs_value and "extension" in value:
        found.add(f"{path}.value", "is missing; R4 defines this extension with a value", "required")
    listed = [one for one in inner if type(one) is dict] if type(inner) is list else []
    if listed and known.is_closed:
        found.add(f"{path}.extension", "is given; R4 defines this extension with a value only", "structure")
    elif known.parts:
        _parts(found, known, listed, path)


def _parts(found: Findings, known: ExtensionDefinition, listed: list[Resource], path: str) -> None:
    urls = [url for one in listed if type(url := one.get("url")) is str]
    counts = Counter(urls)
    for url, part in known.parts.items():
        if counts[url] < part.least:
            found.add(f"{path}.extension", f"has no `{url}`; R4 defines this extension with one", "required")
        elif part.most is not None and counts[url] > part.most:
            found.add(f"{path}.extension", f"has more than {part.most} `{url}`", "structure")
    for index, one in enumerate(listed):
        url = one.get("url")
        part_of = known.parts.get(url) if type(url) is str else None
        if part_of is not None:
            _content(found, part_of, one, f"{path}.extension[{index}]")
        elif type(url) is str and not SCHEME.match(url):
            found.add(f"{path}.extension[{index}].url", "is not a part that R4 defines for this extension", "structure")


def _value(found: Findings, known: ExtensionDefinition, name: str, value: Json, path: str) -> None:
    if not known.types:
        found.add(f"{path}.value", "is given; this extension has extensions instead", "structure")
    elif name[len("value") :] not in {leaf[0].upper() + leaf[1:] for leaf in known.types}:
        found.add(f"{path}.value", f"has another type than R4 defines for it: {', '.join(known.types)}", "structure")
    elif known.codes and name == "valueCode":
        codes = {code for listed in value_set(known.codes).values() for code in listed}
        if codes and type(value) is str and value not in codes:
            found.add(f"{path}.value", "is not a code that R4 allows in this extension", "code-invalid")


def _place(found: Findings, known: ExtensionDefinition, path: str) -> None:
    if known.contexts & _ANYWHERE and not known.invariants:
        return
    names, holder, type_ = _traced(found.scope.resource, path[len(found.start) :].rpartition(".")[0])
    if not known.contexts & _ANYWHERE and known.contexts.isdisjoint(_with_bases(names)):
        found.add(path, f"may not stand here; R4 defines it for {', '.join(sorted(known.contexts))}", "structure")
    for expression in known.invariants:
        test = _test(expression, type_)
        if test is not None and type(holder) is dict and test(holder, found.scope) is not True:
            found.add(path, f"may stand only where {expression}", "invariant")


def _traced(resource: Resource, steps: str) -> tuple[set[str], Json, str]:
    """Every name of the element that the steps lead to: from the resource, and from each datatype on the way."""
    type_ = str(resource.get("resourceType"))
    names: set[str] = {type_}
    value: Json = resource
    for step, index in _STEP.findall(steps):
        known = elements(type_)
        element = known.get(step) or known.get(f"{step}[x]")
        if element is None:
            return names, value, type_
        shown = (step, f"{step}[x]") if element.is_choice else (step,)
        type_, member = next(
            (
                (leaf, name)
                for leaf in element.types
                for name in (step + leaf[0].upper() + leaf[1:] if element.is_choice else step,)
                if type(value) is dict and (name in value or f"_{name}" in value)
            ),
            (element.types[0], step),
        )
        names = {f"{name}.{one}" for name in names for one in shown} | {type_}
        value = value.get(member) if type(value) is dict else None
        if index:
            value = value[int(index)] if type(value) is list and int(index) < len(value) else None
    return names, value, type_


def _with_bases(names: set[str]) -> Iterator[str]:
    for name in names:
        head, point, rest = name.partition(".")
        for base in (*ancestors(head), head, _BASES.get(head, head)):
            yield base + point + rest


@cache
def _test(expression: str, type_: str) -> Test | None:
    try:
        return compile_test(parse(expression), frozenset({type_}))
    except NotCompilable:
        return None
