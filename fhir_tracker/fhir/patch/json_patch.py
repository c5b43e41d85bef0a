"""JSON Patch: operations on places of a JSON document, all or none.

https://www.rfc-editor.org/rfc/rfc6902
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Never

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.fhir.patch.limits import Meter, check_count, failed, malformed

CONTENT_TYPE = "application/json-patch+json"
_INDEX = re.compile("0|[1-9][0-9]{0,8}")
_WRONG_ESCAPE = re.compile("~(?![01])")
_WITH_VALUE = frozenset({"add", "replace", "test"})
_WITH_SOURCE = frozenset({"move", "copy"})
_Place = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Operation:
    number: int
    kind: str
    path: _Place
    source: _Place = ()
    value: Json = None

    def fail(self, why: str, code: str = "processing") -> Never:
        raise failed(self.number, self.kind, why, code=code)


def apply(document: Json, patch: Json) -> Json:
    """`document` after all operations of `patch` (the parsed array), itself unchanged; numbers stay as written.

    Raises Incorrect for a patch that is none, TooLarge over the limits, and RuleBroken naming the operation, counted
    from 0, that cannot be done: a path that is not there, a test that fails.
    """
    if not isinstance(patch, list):
        raise Incorrect("A JSON Patch is an array of operations.")
    check_count(len(patch))
    operations = [_operation(number, one) for number, one in enumerate(patch)]
    holder = {"": deepcopy(document)}
    meter = Meter(document)
    for operation in operations:
        _ACTS[operation.kind](holder, operation, meter)
    return holder[""]


def _operation(number: int, given: Json) -> _Operation:
    if not isinstance(given, dict):
        raise malformed(number, "is not an object")
    kind = given.get("op")
    if not isinstance(kind, str) or kind not in _ACTS:
        raise malformed(number, f"has no `op` of {', '.join(_ACTS)}")
    if kind in _WITH_VALUE and "value" not in given:
        raise malformed(number, f"({kind}) has no `value`")
    return _Operation(
        number=number,
        kind=kind,
        path=_pointer(number, "path", given),
        source=_pointer(number, "from", given) if kind in _WITH_SOURCE else (),
        value=given.get("value"),
    )


def _pointer(number: int, name: str, given: dict[str, Json]) -> _Place:
    """The steps of a JSON Pointer, behind a first "" that leads to the whole document."""
    text = given.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")) or _WRONG_ESCAPE.search(text):
        raise malformed(number, f'has no `{name}` that is a JSON Pointer, such as "/status"')
    steps = text.split("/")[1:]
    return ("", *(step.replace("~1", "/").replace("~0", "~") for step in steps))


def _add(holder: Json, operation: _Operation, meter: Meter) -> None:
    _put(holder, operation, deepcopy(operation.value), meter)


def _remove(holder: Json, operation: _Operation, meter: Meter) -> None:
    _take(holder, operation, operation.path)


def _replace(holder: Json, operation: _Operation, meter: Meter) -> None:
    meter.add(operation.value, len(operation.path))
    parent = _parent(holder, operation, operation.path)
    parent[_present(parent, operation, operation.path[-1])] = deepcopy(operation.value)


def _move(holder: Json, operation: _Operation, meter: Meter) -> None:
    if len(operation.path) > len(operation.source) and operation.path[: len(operation.source)] == operation.source:
        operation.fail("a value cannot move into itself")
    _look(holder, operation, operation.source)
    if operation.path != operation.source:
        _put(holder, operation, _take(holder, operation, operation.source), meter)


def _copy(holder: Json, operation: _Operation, meter: Meter) -> None:
    value = _look(holder, operation, operation.source)
    meter.add(value, len(operation.path))
    _put(holder, operation, deepcopy(value), meter)


def _test(holder: Json, operation: _Operation, meter: Meter) -> None:
    if not _same(_look(holder, operation, operation.path), operation.value):
        operation.fail("the value there is another one")


def _put(holder: Json, operation: _Operation, value: Json, meter: Meter) -> None:
    meter.add(value, len(operation.path))
    parent = _parent(holder, operation, operation.path)
    step = operation.path[-1]
    if isinstance(parent, dict):
        parent[step] = value
        return
    index = len(parent) if step == "-" else _index(operation, step)
    if index > len(parent):
        operation.fail("the array is shorter than the index")
    parent.insert(index, value)


def _take(holder: Json, operation: _Operation, place: _Place) -> Json:
    if len(place) == 1:
        operation.fail("the whole resource cannot be removed")
    parent = _parent(holder, operation, place)
    return parent.pop(_present(parent, operation, place[-1]))


def _look(holder: Json, operation: _Operation, place: _Place) -> Json:
    parent = _parent(holder, operation, place)
    return parent[_present(parent, operation, place[-1])]


def _parent(holder: Json, operation: _Operation, place: _Place) -> Json:
    """The object or array that holds the last step of a place."""
    value = holder
    for step in place[:-1]:
        value = value[_present(value, operation, step)]
    if not isinstance(value, dict | list):
        operation.fail("there is nothing at its path", "not-found")
    return value


def _present(parent: Json, operation: _Operation, step: str) -> str | int:
    """The key under which `step` is there."""
    if isinstance(parent, dict) and step in parent:
        return step
    if isinstance(parent, list) and step != "-":
        index = _index(operation, step)
        if index < len(parent):
            return index
    raise failed(operation.number, operation.kind, "there is nothing at its path", code="not-found")


def _index(operation: _Operation, step: str) -> int:
    if not _INDEX.fullmatch(step):
        operation.fail("an array has whole numbers as indexes")
    return int(step)


def _same(one: Json, other: Json) -> bool:
    """Equality of JSON: numbers by value, true never 1, objects in any order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


_ACTS: dict[str, Callable[[Json, _Operation, Meter], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
