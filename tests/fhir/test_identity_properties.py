"""References, ids, hashes, narratives and tolerant readers hold for any text an EHR may send.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.folding import fold
from fhir_tracker.fhir.identity import LONGEST_ID, content_hash, is_legal_id, local_id, new_id
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.reading import at, end_at, extension_value, moment_at, objects_at, references_at, text_at
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references, walk_references
from tests.fhir.examples import examples
from tests.fhir.slow_values import folded

TYPES = st.sampled_from(sorted(resource_types()))
IDS = st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True)
BASES = st.sampled_from(["http://h", "https://ehr.example/fhir", "http://127.0.0.1:8080/a/b/R4", "https://h/Patient"])


@given(TYPES, IDS, st.none() | IDS, st.none() | BASES)
def test_a_reference_made_of_parts_comes_apart_into_them(
    type_: str, id_: str, version: str | None, base: str | None
) -> None:
    text = f"{f'{base}/' if base else ''}{type_}/{id_}{f'/_history/{version}' if version else ''}"
    found = parse_reference(text)
    assert found.kind is (ReferenceKind.ABSOLUTE if base else ReferenceKind.RELATIVE)
    assert (found.type, found.id, found.version, found.base) == (type_, id_, version or "", base or "")


@given(st.text(max_size=300))
def test_any_text_is_one_kind_of_reference_and_keeps_its_text(text: str) -> None:
    found = parse_reference(text)
    assert found.text == text
    assert bool(found.type and found.id) == (found.kind in (ReferenceKind.RELATIVE, ReferenceKind.ABSOLUTE))
    assert found.id == "" or is_legal_id(found.id) or found.kind is ReferenceKind.FRAGMENT
    assert found.type == "" or found.type in resource_types()


@given(TYPES, IDS, BASES)
def test_a_very_long_base_is_parsed_as_a_short_one(type_: str, id_: str, base: str) -> None:
    long = f"{base}/{'x' * 300}"
    found = parse_reference(f"{long}/{type_}/{id_}")
    assert (found.kind, found.base, found.type, found.id) == (ReferenceKind.ABSOLUTE, long, type_, id_)


@pytest.mark.parametrize("number", range(3))
def test_rewriting_there_and_back_is_the_same_resource(number: int) -> None:
    for resource in examples()[number::3]:
        before = copy.deepcopy(resource)
        paths = {path: holder["reference"] for path, holder in walk_references(resource)}
        there = rewrite_references(resource, lambda text: f"x-{text}")
        assert {path: holder["reference"] for path, holder in walk_references(there)} == {
            path: f"x-{text}" for path, text in paths.items()
        }
        assert rewrite_references(there, lambda text: text[2:]) == resource == before
        assert write_json(rewrite_references(there, lambda text: text[2:])) == write_json(before)
        assert (there is resource) == (not paths)


def test_every_reference_of_the_examples_is_found_where_it_stands() -> None:
    found = [(resource, path, holder) for resource in examples() for path, holder in walk_references(resource)]
    assert len(found) > 200
    for resource, path, holder in found:
        steps: list[str | int] = []
        for step in path.partition(".")[2].split("."):
            name, *positions = step.replace("]", "").split("[")
            steps += [name, *map(int, positions)]
        assert at(resource, *steps) is holder


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80), TYPES)
def test_two_remote_ids_are_two_ids_here(first: str, second: str, type_: str) -> None:
    mine, yours = local_id("ehr", first, type_), local_id("ehr", second, type_)
    assert (mine == yours) == (first == second)
    assert is_legal_id(mine)
    assert len(mine) <= LONGEST_ID
    assert local_id("ehr-b", first, type_) != mine


@given(IDS)
def test_a_plain_id_never_looks_like_a_digest_of_another(remote: str) -> None:
    found = local_id("c", remote)
    assert found == f"c-{remote}" or len(remote) > LONGEST_ID - 2


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_a_new_id_holds_its_time_and_a_version(at_ms: int, noise: bytes) -> None:
    moment = datetime.fromtimestamp(min(at_ms, 10**13) // 1000, UTC)
    made = UUID(new_id(moment, lambda _: noise))
    assert made.version == 7
    assert made.int >> 80 == int(moment.timestamp()) * 1000
    assert is_legal_id(str(made))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab\u00e9\U0001f600", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", max_size=3), JSON, max_size=5), st.randoms())
def test_the_order_of_members_does_not_change_the_hash(members: dict[str, Json], random: Any) -> None:
    shuffled = list(members.items())
    random.shuffle(shuffled)
    assert content_hash(dict(shuffled)) == content_hash(members)


@given(
    st.dictionaries(st.text("abc", max_size=3), JSON, max_size=4),
    st.dictionaries(st.text("abc", max_size=3), JSON, max_size=4),
)
def test_other_content_has_another_hash(first: dict[str, Json], second: dict[str, Json]) -> None:
    is_same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (content_hash(first) == content_hash(second)) == is_same


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"meta": {"versionId": "2"}}, False),
        ({"meta": {"lastUpdated": "2026-01-01T00:00:00Z"}}, False),
        ({"meta": {}}, False),
        ({"meta": {"source": "urn:x"}}, True),
        ({"meta": {"profile": ["urn:x"]}}, True),
        ({"id": "other"}, True),
        ({"language": "en"}, True),
    ],
)
def test_what_counts_as_content(change: Resource, counts: bool) -> None:
    basic: Resource = {"resourceType": "Basic", "id": "b"}
    assert (content_hash(basic | change) != content_hash(basic)) == counts


@given(st.text(max_size=60), st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=4))
@example("\n", [])
@example("\x01 \u00a0", [("", "")])
def test_a_narrative_says_its_text_and_nothing_more(title: str, rows: list[tuple[str, str]]) -> None:
    def plain(text: str) -> str:
        return "".join(one for one in text if one in "\t\n\r" or (ord(one) >= 32 and one not in "\ufffe\uffff"))

    built = narrative("Task", title, rows)
    root = ET.fromstring(built["div"].replace("\r", "&#13;"))  # noqa: S314 - our own output
    assert [one.tag.rpartition("}")[2] for one in root.iter() if one.tag.rpartition("}")[2] in ("script", "img")] == []
    expected = (plain(title) if plain(title).strip() else "Task") + "".join(
        plain(label) + plain(value) for label, value in rows
    )
    assert "".join(root.itertext()) == expected
    assert len(list(root.iter("{http://www.w3.org/1999/xhtml}tr"))) == len(rows)
    assert check({"resourceType": "Basic", "code": {"text": "x"}, "text": built}) == ()
    assert read_json(write_json(built).encode()) == built


@given(st.text(max_size=60))
def test_folding_is_that_of_a_slow_second_one_and_done_once(text: str) -> None:
    assert fold(text) == folded(text)
    assert fold(fold(text)) == fold(text)
    assert fold(text.upper()) == fold(text.upper().lower())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("José", "jose"), ("MÜLLER", "Müller"), ("STRASSE", "straße"), ("ﬁn", "fin")),
        *(("a \t\n b", "A B"), ("Ｆｕｌｌ", "full"), ("ΣΑΣ", "σας")),
    ],
)
def test_what_people_type_finds_what_is_written(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@given(JSON, st.lists(st.sampled_from(["a", "b", 0, -1, 5]), max_size=4))
def test_reading_by_path_never_fails_and_finds_what_subscripting_finds(value: Json, path: list[str | int]) -> None:
    expected: Any = value
    try:
        for step in path:
            fits = isinstance(expected, dict if isinstance(step, str) else list)
            expected = expected[step] if fits else None
    except (KeyError, IndexError):
        expected = None
    assert at(value, *path) == expected
    assert text_at(value, *path) == (expected if isinstance(expected, str) and expected else None)
    assert all(isinstance(one, dict) for one in objects_at(value, *path))


@pytest.mark.parametrize("wrong", [None, 5, "", "soon", [], {}, "2026-02-30", "0000", True], ids=repr)
def test_what_is_no_moment_is_none(wrong: Json) -> None:
    assert moment_at({"d": wrong}, "d") is None
    assert end_at({"d": wrong}, "d") is None


def test_extensions_and_references_are_read_from_anything() -> None:
    resource: Resource = {
        "extension": [5, {"url": "urn:a"}, {"url": "urn:a", "valueCode": "second"}, {"url": "urn:b", "valueCode": "x"}],
        "basedOn": [{"reference": "CarePlan/1"}, {"display": "no"}, 7, {"reference": 8}],
        "for": {"reference": "Patient/1"},
    }
    assert extension_value(resource, "urn:b", "valueCode") == "x"
    assert extension_value(resource, "urn:a", "valueCode") is None
    assert extension_value(resource, "urn:none", "valueCode") is None
    assert references_at(resource, "basedOn") == ("CarePlan/1",)
    assert references_at(resource, "for") == ("Patient/1",)
    assert references_at(resource, "none") == references_at([], "for") == ()
