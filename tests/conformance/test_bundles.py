"""Transactions over HTTP: all or nothing, in R4's order, with every link between entries rewritten."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import httpx
import pytest

from tests.conformance.bundles import (
    SYSTEM,
    about,
    done,
    entry,
    found,
    number,
    patient,
    post,
    put,
    refs,
    send,
    statuses,
    stored,
    urn,
)
from tests.conformance.server import Tracker
from tests.conformance.talk import Body, issue_of


@pytest.mark.requirement(33, 37)
def test_an_answer_has_an_entry_for_each_entry_in_their_order(client: httpx.Client) -> None:
    value = number()
    gone = refs(done(send(client, "transaction", post(patient()))))[0]
    entries = done(
        send(
            client,
            "transaction",
            entry("GET", f"Patient?identifier={SYSTEM}|{value}"),
            put({"resourceType": "Basic", "id": f"b{value[:8]}", "code": {"text": "x"}}),
            post(patient(value)),
            entry("DELETE", gone),
            entry("HEAD", f"Basic/b{value[:8]}"),
        )
    )
    assert statuses(entries) == ["200", "201", "201", "204", "200"]
    assert entries[0]["resource"]["type"] == "searchset"
    assert [one["resource"]["id"] for one in entries[0]["resource"]["entry"]] == [entries[2]["resource"]["id"]]
    assert entries[1]["response"]["location"].endswith(f"/fhir/Basic/b{value[:8]}/_history/1")
    assert entries[1]["response"]["etag"] == 'W/"1"'
    assert entries[1]["response"]["lastModified"] == entries[1]["resource"]["meta"]["lastUpdated"]
    assert entries[1]["fullUrl"].endswith(f"/fhir/Basic/b{value[:8]}")
    assert "resource" not in entries[3]
    assert "resource" not in entries[4]
    assert client.get(f"/{gone}").status_code == 410


@pytest.mark.requirement(33)
def test_the_order_of_entries_makes_no_difference(client: httpx.Client) -> None:
    for order in permutations(range(4)):
        old, value = number(), number()
        gone = refs(done(send(client, "transaction", post(patient(old)))))[0]
        task_id = f"t{value[:10]}"
        made = [
            entry("DELETE", gone),
            post(patient(old), urn()),
            put({"resourceType": "Basic", "id": task_id, "code": {"text": "x"}}),
            entry("GET", f"Patient?identifier={SYSTEM}|{old}"),
        ]
        entries = done(send(client, "transaction", *[made[index] for index in order]))
        by_entry = dict(zip(order, entries, strict=True))
        assert statuses([by_entry[index] for index in range(4)]) == ["204", "201", "201", "200"]
        assert [one["resource"]["id"] for one in by_entry[3]["resource"]["entry"]] == [by_entry[1]["resource"]["id"]]


@pytest.mark.requirement(33, 14)
@pytest.mark.parametrize(
    ("name", "bad", "status", "where"),
    [
        ("shape", post({"resourceType": "Patient", "gender": "x"}), 400, "Bundle.entry[1].resource.gender"),
        ("read", entry("GET", "Patient/nobody-at-all"), 404, "Bundle.entry[1]"),
        ("address", entry("GET", "Nonsense/1"), 404, "Bundle.entry[1]"),
        ("type", entry("POST", "Basic", patient()), 400, "Bundle.entry[1]"),
        ("method", entry("DELETE", "metadata"), 405, "Bundle.entry[1]"),
        (
            "if-match",
            put({"resourceType": "Basic", "id": "never-was", "code": {"text": "x"}}, ifMatch='W/"4"'),
            412,
            "",
        ),
        ("urn", post(about("urn:uuid:00000000-0000-4000-8000-000000000000")), 400, "resource.subject.reference"),
        ("nested", entry("POST", "", {"resourceType": "Bundle", "type": "batch"}), 400, "Bundle.entry[1].request.url"),
        ("no resource", entry("POST", "Patient"), 400, "Bundle.entry[1].resource"),
        ("no request", {"resource": patient()}, 400, "Bundle.entry[1].request"),
        ("no entry", [], 400, "Bundle.entry[1]"),
        ("stranger", entry("GET", "https://elsewhere.example/fhir/Patient/1"), 400, "Bundle.entry[1].request.url"),
        ("the trail", post({"resourceType": "AuditEvent"}), 405, "Bundle.entry[1]"),
    ],
    ids=lambda value: value if type(value) is str and " " not in value and "." not in value else None,
)
def test_one_bad_entry_undoes_all_and_is_named(
    client: httpx.Client, name: str, bad: Any, status: int, where: str
) -> None:
    value = number()
    issue = issue_of(send(client, "transaction", post(patient(value)), bad, post(patient(value))), status)
    assert "entry[1]" in issue["diagnostics"]
    assert issue["expression"][0].startswith("Bundle.entry[1]")
    assert where in issue["expression"][0]
    assert found(client, f"Patient?identifier={SYSTEM}|{value}") == []


@pytest.mark.requirement(34)
def test_circular_references_are_given_the_new_ids(client: httpx.Client) -> None:
    one, two, three = urn(), urn(), "urn:oid:2.999.1"
    entries = done(
        send(
            client,
            "transaction",
            post(patient(link=[{"other": {"reference": two}, "type": "seealso"}]), one),
            post(patient(link=[{"other": {"reference": one}, "type": "seealso"}]), two),
            post(about(three, author={"reference": one}), three),
        )
    )
    first, second, third = refs(entries)
    assert stored(client, first)["link"][0]["other"]["reference"] == second
    assert stored(client, second)["link"][0]["other"]["reference"] == first
    assert stored(client, third)["subject"]["reference"] == third
    assert stored(client, third)["author"]["reference"] == first


@pytest.mark.requirement(34)
def test_links_are_rewritten_in_every_element_that_may_hold_one_and_in_no_other(client: httpx.Client) -> None:
    mine, whom = urn(), urn()
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{whom}">p</a><img src=\'{whom}\' alt="{whom}"/>{whom}</div>'
    resource: Body = {
        "resourceType": "Basic",
        "text": {"status": "generated", "div": div},
        "contained": [
            {"resourceType": "Basic", "id": "c", "code": {"text": "x"}, "subject": {"reference": whom}},
        ],
        "extension": [
            {"url": "https://example.org/a", "valueUri": whom},
            {"url": "https://example.org/b", "valueUrl": whom},
            {"url": "https://example.org/c", "valueUuid": whom},
            {"url": "https://example.org/d", "valueCanonical": whom},
            {"url": "https://example.org/e", "valueString": whom},
            {"url": "https://example.org/f", "valueReference": {"reference": whom, "display": whom}},
            {"url": whom, "valueCode": "x"},
            {"url": "https://example.org/g", "valueReference": {"reference": "#c"}},
        ],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": whom}],
        "code": {"text": whom},
        "subject": {"reference": whom},
    }
    made, person = refs(done(send(client, "transaction", post(resource, mine), post(patient(), whom))))
    kept = stored(client, made)
    values = [next(value for name, value in one.items() if name != "url") for one in kept["extension"]]
    assert values[:5] == [person, person, f"urn:uuid:{person.partition('/')[2]}", whom, whom]
    assert kept["extension"][5]["valueReference"] == {"reference": person, "display": whom}
    assert kept["extension"][6]["url"] == whom
    assert kept["identifier"][0]["value"] == whom
    assert kept["code"]["text"] == whom
    assert kept["subject"]["reference"] == person
    assert kept["contained"][0]["subject"]["reference"] == person
    text = kept["text"]["div"]
    assert f'href="{person}"' in text
    assert f"src='{person}'" in text
    assert f'alt="{whom}"' in text
    assert f">{whom}</div>" in text


@pytest.mark.requirement(34)
def test_full_urls_of_other_servers_and_relative_references_below_them_are_rewritten(client: httpx.Client) -> None:
    far = "https://ehr.example/fhir"
    entries = done(
        send(
            client,
            "transaction",
            post(patient(id="7"), f"{far}/Patient/7"),
            post(about("Patient/7"), f"{far}/Basic/1"),
            post(about(f"{far}/Patient/7")),
            post(about(f"{far}/Patient/7/_history/3"), urn()),
            post(about("Patient/7"), urn()),
            post(about(f"{far}/Patient/8"), urn()),
        )
    )
    person, *others = refs(entries)
    assert [stored(client, ref)["subject"]["reference"] for ref in others] == [
        person,
        person,
        f"{person}/_history/1",
        "Patient/7",
        f"{far}/Patient/8",
    ]


@pytest.mark.requirement(34)
def test_our_own_address_before_a_full_url_a_reference_or_a_url_changes_nothing(
    client: httpx.Client, tracker: Tracker
) -> None:
    value = number()
    own = tracker.fhir
    id_ = f"p{value[:8]}"
    entries = done(
        send(
            client,
            "transaction",
            entry("PUT", f"{own}/Patient/{id_}", patient(value, id=id_), f"{own}/Patient/{id_}"),
            entry("POST", "/Basic", about(f"{own}/Patient/{id_}"), f"{own}/Basic/new-one"),
            entry("POST", "Basic", about("Basic/new-one")),
            entry("GET", f"{own}/Patient?identifier={SYSTEM}|{value}"),
        )
    )
    assert statuses(entries) == ["201", "201", "201", "200"]
    assert stored(client, refs(entries)[1])["subject"]["reference"] == f"Patient/{id_}"
    assert stored(client, refs(entries)[2])["subject"]["reference"] == refs(entries)[1]
    assert len(entries[3]["resource"]["entry"]) == 1


@pytest.mark.requirement(34)
def test_a_put_can_be_referred_to_by_urn(client: httpx.Client) -> None:
    whom = urn()
    id_ = f"p{number()[:8]}"
    entries = done(send(client, "transaction", post(about(whom)), put(patient(id=id_), whom)))
    assert stored(client, refs(entries)[0])["subject"]["reference"] == f"Patient/{id_}"


@pytest.mark.requirement(35)
def test_a_create_that_finds_its_resource_lends_its_id_to_references(client: httpx.Client) -> None:
    value, whom = number(), urn()
    person = refs(done(send(client, "transaction", post(patient(value)))))[0]
    once = f"identifier={SYSTEM}|{value}"
    entries = done(
        send(client, "transaction", post(about(whom)), post(patient(value), whom, ifNoneExist=once), post(about(whom)))
    )
    assert statuses(entries) == ["201", "200", "201"]
    assert refs(entries)[1] == person
    assert entries[1]["response"]["etag"] == 'W/"1"'
    assert {stored(client, refs(entries)[at])["subject"]["reference"] for at in (0, 2)} == {person}
    assert len(found(client, f"Patient?{once}")) == 1


@pytest.mark.requirement(35)
def test_creates_with_one_condition_make_one_resource(client: httpx.Client) -> None:
    value, first, second = number(), urn(), urn()
    once = f"identifier={SYSTEM}|{value}"
    entries = done(
        send(
            client,
            "transaction",
            post(patient(value), first, ifNoneExist=once),
            post(patient(value), second, ifNoneExist=f"Patient?{once}"),
            post(about(second)),
        )
    )
    assert statuses(entries) == ["201", "200", "201"]
    assert stored(client, refs(entries)[2])["subject"]["reference"] == refs(entries)[0] == refs(entries)[1]
    assert len(found(client, f"Patient?{once}")) == 1


@pytest.mark.requirement(35)
def test_a_condition_that_several_meet_fails_and_so_does_one_that_only_the_bundle_makes_ambiguous(
    client: httpx.Client,
) -> None:
    value, family = number(), f"Synthetic{number()[:8]}"
    twice = [post(patient(value)), post(patient(value))]
    done(send(client, "transaction", *twice))
    once = f"identifier={SYSTEM}|{value}"
    for bad in (
        post(patient(value), ifNoneExist=once),
        entry("PUT", f"Patient?{once}", patient(value)),
        entry("DELETE", f"Patient?{once}"),
    ):
        assert issue_of(send(client, "transaction", bad), 412)["expression"] == ["Bundle.entry[0]"]
    named = patient(name=[{"family": family}])
    issue_of(send(client, "transaction", post(named), post(named, ifNoneExist=f"family={family}")), 412)
    assert found(client, f"Patient?family={family}") == []


@pytest.mark.requirement(35)
def test_conditional_addresses_update_create_and_delete(client: httpx.Client) -> None:
    old, new, gone, whom = number(), number(), number(), urn()
    done(send(client, "transaction", post(patient(old)), post(patient(gone))))
    entries = done(
        send(
            client,
            "transaction",
            entry("PUT", f"Patient?identifier={SYSTEM}|{old}", patient(old, gender="other")),
            entry("PUT", f"Patient?identifier={SYSTEM}|{new}", patient(new), whom),
            entry("DELETE", f"Patient?identifier={SYSTEM}|{gone}"),
            post(about(whom)),
        )
    )
    assert statuses(entries) == ["200", "201", "204", "201"]
    assert entries[0]["response"]["etag"] == 'W/"2"'
    assert stored(client, refs(entries)[3])["subject"]["reference"] == refs(entries)[1]
    assert found(client, f"Patient?identifier={SYSTEM}|{gone}") == []
    assert found(client, f"Patient?identifier={SYSTEM}|{old}")[0]["gender"] == "other"


@pytest.mark.requirement(35)
def test_if_match_and_if_none_match_of_entries_are_honoured(client: httpx.Client) -> None:
    id_ = f"b{number()[:8]}"
    basic: Body = {"resourceType": "Basic", "id": id_, "code": {"text": "x"}}
    done(send(client, "transaction", put(basic)))
    assert statuses(done(send(client, "transaction", put(basic, ifMatch='W/"1"')))) == ["200"]
    issue_of(send(client, "transaction", put(basic, ifMatch='W/"1"')), 412)
    issue_of(send(client, "transaction", entry("DELETE", f"Basic/{id_}", ifMatch='W/"1"')), 412)
    seen = done(send(client, "transaction", entry("GET", f"Basic/{id_}", ifNoneMatch='W/"2"')))
    assert statuses(seen) == ["304"]
    assert "resource" not in seen[0]
    later = done(send(client, "transaction", entry("GET", f"Basic/{id_}", ifModifiedSince="2999-01-01T00:00:00Z")))
    assert statuses(later) == ["304"]
    assert statuses(done(send(client, "transaction", entry("DELETE", f"Basic/{id_}", ifMatch='W/"2"')))) == ["204"]


@pytest.mark.requirement(35)
def test_conditional_references_mean_what_is_there_after_the_writes(client: httpx.Client) -> None:
    old, new, moved = number(), number(), number()
    person, other = refs(done(send(client, "transaction", post(patient(old)), post(patient(moved)))))
    entries = done(
        send(
            client,
            "transaction",
            post(about(f"Patient?identifier={SYSTEM}|{old}")),
            post(about(f"Patient?identifier={SYSTEM}|{new}")),
            post(patient(new)),
            post(about(f"Patient?identifier={SYSTEM}|{moved}")),
            put(patient(moved, id=other.partition("/")[2])),
        )
    )
    assert [stored(client, refs(entries)[at])["subject"]["reference"] for at in (0, 1, 3)] == [
        person,
        refs(entries)[2],
        other,
    ]


@pytest.mark.requirement(35)
def test_a_conditional_reference_by_another_parameter_waits_for_the_writes(client: httpx.Client) -> None:
    family = f"Synthetic{number()[:8]}"
    named = patient(name=[{"family": family}])
    entries = done(send(client, "transaction", post(about(f"Patient?family={family}")), post(named)))
    assert stored(client, refs(entries)[0])["subject"]["reference"] == refs(entries)[1]


@pytest.mark.requirement(35)
@pytest.mark.parametrize("copies", [0, 2])
def test_a_conditional_reference_that_not_one_resource_meets_fails_by_its_place(
    client: httpx.Client, copies: int
) -> None:
    value = number()
    if copies:
        done(send(client, "transaction", *[post(patient(value)) for _ in range(copies)]))
    refused = send(client, "transaction", post(patient()), post(about(f"Patient?identifier={SYSTEM}|{value}")))
    issue = issue_of(refused, 422)
    assert issue["code"] == ("multiple-matches" if copies else "not-found")
    assert issue["expression"] == ["Bundle.entry[1].resource.subject.reference"]
    assert value not in refused.text


def _twice(ref: str, value: str) -> dict[str, list[Body]]:
    body = patient(value, id=ref.partition("/")[2])
    search = f"Patient?identifier={SYSTEM}|{value}"
    return {
        "put and put": [put(body), put(body)],
        "put and delete": [put(body), entry("DELETE", ref)],
        "delete and delete": [entry("DELETE", ref), entry("DELETE", f"/{ref}")],
        "put and conditional put": [put(body), entry("PUT", search, patient(value))],
        "conditional put twice": [entry("PUT", search, patient(value)), entry("PUT", search, patient(value))],
        "put and conditional delete": [entry("DELETE", search), put(body)],
        "create that finds it and put": [post(patient(value), ifNoneExist=search), put(body)],
        "same full url": [post(patient(), "urn:uuid:1"), post(patient(), "urn:uuid:1")],
    }


@pytest.mark.requirement(36)
@pytest.mark.parametrize("name", list(_twice("Patient/x", "x")))
def test_a_resource_may_come_once_in_a_transaction(client: httpx.Client, name: str) -> None:
    value = number()
    ref = refs(done(send(client, "transaction", post(patient(value)))))[0]
    marker = number()
    issue = issue_of(send(client, "transaction", *_twice(ref, value)[name], post(patient(marker))), 400)
    assert issue["expression"][0].startswith("Bundle.entry[")
    assert stored(client, ref)["meta"]["versionId"] == "1"
    assert found(client, f"Patient?identifier={SYSTEM}|{marker}") == []


@pytest.mark.requirement(10)
@pytest.mark.parametrize(
    ("wanted", "element"), [("minimal", ""), ("representation", "resource"), ("OperationOutcome", "")]
)
def test_what_writes_return_is_as_preferred(client: httpx.Client, wanted: str, element: str) -> None:
    id_ = f"b{number()[:8]}"
    written, read = done(
        send(
            client,
            "transaction",
            put({"resourceType": "Basic", "id": id_, "code": {"text": "x"}}),
            entry("GET", f"Basic/{id_}"),
            headers={"Prefer": f"return={wanted}"},
        )
    )
    assert ("resource" in written) == bool(element)
    assert read["resource"]["id"] == id_
    assert written["response"]["lastModified"] == read["resource"]["meta"]["lastUpdated"]
    assert ("outcome" in written["response"]) == (wanted == "OperationOutcome")


@pytest.mark.requirement(9, 33)
def test_patches_in_entries_work_as_by_themselves(client: httpx.Client) -> None:
    one, two = (f"b{number()[:8]}" for _ in range(2))
    whom = urn()
    basics = [put({"resourceType": "Basic", "id": id_, "code": {"text": "x"}}) for id_ in (one, two)]
    done(send(client, "transaction", *basics))
    data = "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9jb2RlL3RleHQiLCJ2YWx1ZSI6InkifV0="
    binary: Body = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    parts = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Basic"},
        {"name": "name", "valueString": "subject"},
        {"name": "value", "valueReference": {"reference": whom}},
    ]
    parameters: Body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    entries = done(
        send(
            client,
            "transaction",
            entry("PATCH", f"Basic/{one}", binary),
            entry("PATCH", f"Basic/{two}", parameters),
            post(patient(), whom),
        )
    )
    assert statuses(entries) == ["200", "200", "201"]
    assert stored(client, f"Basic/{one}")["code"]["text"] == "y"
    assert stored(client, f"Basic/{two}")["subject"]["reference"] == refs(entries)[2]


@pytest.mark.requirement(33, 37)
@pytest.mark.parametrize("type_", ["transaction", "batch"])
def test_an_empty_bundle_has_an_empty_answer(one_client: httpx.Client, type_: str) -> None:
    assert done(send(one_client, type_), f"{type_}-response") == []


def test_bundles_within_bundles_keep_their_links(one_client: httpx.Client) -> None:
    whom = urn()
    inner: Body = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": urn(), "resource": about(whom)}, {"fullUrl": urn(), "resource": about(urn())}],
    }
    made = refs(done(send(one_client, "transaction", post(inner), post(patient(), whom))))[0]
    assert stored(one_client, made)["entry"] == inner["entry"]


def test_two_transactions_at_once_create_one_resource_under_one_condition(
    client: httpx.Client, at_once: Callable[[int, Callable[[int], httpx.Response]], list[httpx.Response]]
) -> None:
    value = number()
    once = f"identifier={SYSTEM}|{value}"
    answers = at_once(6, lambda _: send(client, "transaction", post(patient(value), ifNoneExist=once), post(patient())))
    assert sorted(statuses(done(one))[0] for one in answers) == ["200"] * 5 + ["201"]
    assert len(found(client, f"Patient?{once}")) == 1


@pytest.mark.requirement(42)
def test_transactions_that_update_the_same_resources_in_any_order_all_succeed(
    client: httpx.Client, at_once: Callable[[int, Callable[[int], httpx.Response]], list[httpx.Response]]
) -> None:
    ids = [f"b{number()[:8]}" for _ in range(4)]
    made: list[Body] = [{"resourceType": "Basic", "id": id_, "code": {"text": "x"}} for id_ in ids]

    def write(index: int) -> httpx.Response:
        turned = made[index % 4 :] + made[: index % 4]
        return send(client, "transaction", *[put(one) for one in turned])

    answers = at_once(8, write)
    assert [one.status_code for one in answers] == [200] * 8
    for id_ in ids:
        assert stored(client, f"Basic/{id_}")["meta"]["versionId"] == "8"
