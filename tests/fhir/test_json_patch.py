"""JSON Patch by RFC 6902: each operation, its escapes and arrays, what is refused, and a library as oracle."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect, RuleBroken, TooLarge, TrackerError
from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.patch.json_patch import apply

DOCUMENT = {"a": 1, "b": [1, 2, 3], "c": {"d": "x", "e/f": 1, "g~h": 2}, "n": None, "": "empty"}


def op(kind: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": kind, "path": path} | {name.rstrip("_"): value for name, value in members.items()}


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        (op("add", "/x", value=7), {"x": 7}),
        (op("add", "/a", value=7), {"a": 7}),
        (op("add", "/b/1", value=9), {"b": [1, 9, 2, 3]}),
        (op("add", "/b/3", value=9), {"b": [1, 2, 3, 9]}),
        (op("add", "/b/-", value=[9]), {"b": [1, 2, 3, [9]]}),
        (op("add", "/", value="y"), {"": "y"}),
        (op("remove", "/b/0"), {"b": [2, 3]}),
        (op("remove", "/c/e~1f"), {"c": {"d": "x", "g~h": 2}}),
        (op("remove", "/c/g~0h"), {"c": {"d": "x", "e/f": 1}}),
        (op("replace", "/n", value=False), {"n": False}),
        (op("replace", "/b/2", value={"z": None}), {"b": [1, 2, {"z": None}]}),
        (op("move", "/b/0", from_="/b/2"), {"b": [3, 1, 2]}),
        (op("move", "/a", from_="/a"), {}),
        (op("copy", "/b/-", from_="/b/0"), {"b": [1, 2, 3, 1]}),
        (op("copy", "/c/all", from_="/c"), {"c": DOCUMENT["c"] | {"all": DOCUMENT["c"]}}),  # type: ignore[operator]
        (op("test", "/c", value={"g~h": 2, "e/f": 1, "d": "x"}), {}),
        (op("test", "/n", value=None), {}),
        (op("test", "", value=DOCUMENT), {}),
        (op("test", "/a", value=1, more="is ignored"), {}),
    ],
)
def test_each_operation_does_what_the_rfc_says(operation: dict[str, Any], changed: dict[str, Any]) -> None:
    before = copy.deepcopy(DOCUMENT)
    assert apply(DOCUMENT, [operation]) == DOCUMENT | changed
    assert before == DOCUMENT


def test_the_whole_document_can_be_replaced_and_moved_into() -> None:
    assert apply(DOCUMENT, [op("replace", "", value={"k": 1}), op("add", "/l", value=2)]) == {"k": 1, "l": 2}
    assert apply(DOCUMENT, [op("move", "", from_="/c")]) == DOCUMENT["c"]


@pytest.mark.parametrize(
    "operation",
    [
        op("test", "/a", value=2),
        op("test", "/a", value="1"),
        op("test", "/a", value=True),
        op("test", "/b", value=[1, 2]),
        op("test", "/none", value=None),
        op("remove", "/none"),
        op("remove", "/b/3"),
        op("remove", "/b/-"),
        op("remove", ""),
        op("replace", "/none", value=1),
        op("replace", "/b/-", value=1),
        op("add", "/b/4", value=1),
        op("add", "/b/01", value=1),
        op("add", "/b/-1", value=1),
        op("add", "/b/x", value=1),
        op("add", "/b/9999999999999", value=1),
        op("add", "/none/x", value=1),
        op("add", "/a/x", value=1),
        op("add", "/c/d/x", value=1),
        op("move", "/c/d/x", from_="/c"),
        op("move", "/x", from_="/none"),
        op("copy", "/x", from_="/b/7"),
        op("copy", "/x/y", from_="/a"),
    ],
)
def test_what_cannot_be_done_names_its_operation(operation: dict[str, Any]) -> None:
    with pytest.raises(RuleBroken, match=r"Operation 1 \("):
        apply(DOCUMENT, [op("test", "/a", value=1), operation])


@pytest.mark.parametrize(
    "patch",
    [
        {},
        None,
        "x",
        [1],
        [{}],
        [{"op": "add"}],
        [op("ADD", "/a", value=1)],
        [op("delete", "/a")],
        [op("add", "/a")],
        [op("test", "/a")],
        [op("replace", "/a")],
        [op("remove", "a")],
        [op("remove", "/a~2")],
        [op("remove", "/a~")],
        [{"op": "remove", "path": 7}],
        [{"op": ["remove"], "path": "/a"}],
        [op("move", "/a")],
        [op("copy", "/a", from_="b")],
    ],
)
def test_what_is_no_patch_is_incorrect(patch: Any) -> None:
    with pytest.raises(Incorrect) as refused:
        apply(DOCUMENT, patch)
    assert not isinstance(refused.value, RuleBroken)


def test_a_patch_cannot_grow_a_document_without_bound() -> None:
    with pytest.raises(TooLarge):
        apply(DOCUMENT, [op("test", "/a", value=1)] * 501)
    with pytest.raises(TooLarge):
        apply({"a": {}}, [op("copy", "/a/a", from_="/a")] * 100)
    with pytest.raises(TooLarge):
        apply({"a": ["x" * 100]}, [op("copy", "/a/-", from_="/a")] * 60)
    with pytest.raises(TooLarge):
        apply({"a": "x" * 2_000_000}, [op("copy", f"/{number}", from_="/a") for number in range(20)])
    deep = read_json(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}")
    with pytest.raises(TooLarge):
        apply(deep, [op("copy", "/a" + "/0" * 39 + "/-", from_="/a")])


def test_numbers_stay_as_they_were_written() -> None:
    document = read_json(b'{"a":1.00,"b":[1.50e3],"c":1e2}')
    patch = read_json(
        b'[{"op":"test","path":"/a","value":1.0},{"op":"copy","from":"/b/0","path":"/b/-"},'
        b'{"op":"add","path":"/d","value":2.500},{"op":"test","path":"/c","value":100}]'
    )
    assert write_json(apply(document, patch)) == '{"a":1.00,"b":[1.50e3,1.50e3],"c":1e2,"d":2.500}'


NAMES = st.sampled_from(["a", "b", "c/d", "e~f", "0", "1", "-", ""])
VALUES = st.recursive(
    st.none() | st.integers(-2, 2) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
POINTERS = st.lists(NAMES, min_size=1, max_size=3).map(
    lambda steps: "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": POINTERS,
        "from": POINTERS,
        "value": VALUES,
    }
)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.lists(OPERATIONS, max_size=4))
def test_a_library_by_others_agrees(document: dict[str, Any], patch: list[dict[str, Any]]) -> None:
    try:
        expected: Any = jsonpatch.JsonPatch(patch).apply(document)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, IndexError):
        expected = None
    try:
        found = apply(document, patch)
    except TrackerError:
        found = None
    if expected is not None or not _lenient(patch):
        assert found == expected, json.dumps([document, patch])


def _lenient(patch: list[dict[str, Any]]) -> bool:
    """Whether the patch holds what the library refuses or takes by its own choice."""
    return any(one["op"] == "move" for one in patch)


def test_large_integers_and_decimals_are_equal_by_value() -> None:
    assert apply({"a": 10**30}, [op("test", "/a", value=Decimal(10**30))]) == {"a": 10**30}
