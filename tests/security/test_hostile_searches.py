"""Searches made to break the database, read more than they should, or take for ever."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conformance.talk import FORM, Corner, issue_of, link_of, matches_of

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE resource; --",
    "x') UNION SELECT body FROM resource --",
    "1; SELECT pg_sleep(9)",
    "\\'; SELECT 1 --",
    '" OR ""="',
    "%' OR 1=1 --",
    "${7*7}{{7*7}}",
    ":1",
    "%(name)s",
    "?",
]
WILD = ["%", "_", "%%", "\\", "\\\\", "*", "[a-z]", "a%", "_____", "%\\"]
DAILY = ("Task", "CarePlan", "Appointment", "Patient", "Encounter", "Observation")


@pytest.fixture(scope="session")
def rows(client: httpx.Client) -> dict[str, list[dict[str, Any]]]:
    """What the statement lists for the types of daily work."""
    found = client.get("/metadata").json()["rest"][0]["resource"]
    return {row["type"]: row["searchParam"] for row in found if row["type"] in DAILY}


@pytest.fixture(scope="session")
def victim(client: httpx.Client) -> Corner:
    """Two patients that a hostile search must not find."""
    corner = Corner(client)
    for short in ("a", "b"):
        corner.put("Patient", short, name=[{"family": "Untouched"}], birthDate="1950-01-01")
    return corner


@pytest.mark.security("S32")
@pytest.mark.parametrize("type_", DAILY)
def test_sql_in_any_parameter_is_a_plain_value(
    client: httpx.Client, victim: Corner, rows: dict[str, list[dict[str, Any]]], type_: str
) -> None:
    for number, row in enumerate(rows[type_]):
        for text in (SQL[number % len(SQL)], SQL[(number + 5) % len(SQL)]):
            began = time.monotonic()
            answer = client.get(f"/{type_}", params={row["name"]: text})
            assert answer.status_code in (200, 400), f"{row['name']}={text}: {answer.status_code}"
            if answer.status_code == 200:
                assert matches_of(answer.json()) == [], f"{row['name']}={text}"
            else:
                issue_of(answer, 400)
            assert time.monotonic() - began < 40
    assert victim.found("Patient") == ["a", "b"]


@pytest.mark.security("S32")
@pytest.mark.parametrize("text", SQL)
@pytest.mark.parametrize(
    "name", ["_sort", "_count", "_total", "_include", "_revinclude", "_page", "_lastUpdated", "_id"]
)
def test_sql_in_what_steers_a_search_is_refused(client: httpx.Client, victim: Corner, name: str, text: str) -> None:
    answer = client.get("/Patient", params={name: text})
    if name == "_id":
        assert matches_of(answer.json()) == []
    else:
        issue_of(answer, 400)
    assert victim.found("Patient") == ["a", "b"]


@pytest.mark.security("S32")
@pytest.mark.parametrize("text", SQL)
def test_sql_in_names_and_addresses_finds_nothing(client: httpx.Client, victim: Corner, text: str) -> None:
    answer = client.get("/Patient", params={text: "x"}, headers={"Prefer": "handling=strict"})
    issue_of(answer, 400)
    for path in (
        f"/Patient/{text}",
        f"/{text}",
        f"/Patient/{text}/_history",
        f"/Patient/{victim.id('a')}/_history/{text}",
    ):
        found = client.get(quote(path))
        issue_of(found, 404)


@pytest.mark.security("S33")
@pytest.mark.parametrize("text", WILD)
@pytest.mark.parametrize("modifier", ["", ":contains", ":exact"])
def test_a_wildcard_is_a_letter_like_any_other(client: httpx.Client, victim: Corner, text: str, modifier: str) -> None:
    assert victim.found("Patient?family=untouched") == ["a", "b"]
    answer = client.get("/Patient", params={f"family{modifier}": text, "birthdate": "1950-01-01"})
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        ids = {one["id"] for one in matches_of(answer.json())}
        assert not ids & {victim.id("a"), victim.id("b")}


@pytest.mark.security("S32", "S34", "S39")
@pytest.mark.parametrize(
    "query",
    [
        "_count=999999999",
        "_count=99999999999999999999",
        "_count=-1",
        "_id=" + "a" * 1900,
        "_id=" + "a" * 5000,
        "_id=" + ",".join(["a"] * 200),
        "_id=" + ",".join(["a"] * 300),
        "&".join(["family=a"] * 49),
        "&".join(["family=a"] * 60),
        "&".join(f"p{number}=1" for number in range(1000)),
        "family=" + "%F0%9F%A9%BA" * 100,
        "birthdate=9999-12-31",
        "birthdate=ap9999",
        "birthdate=0001",
        "birthdate=0000",
        "birthdate=99999",
        "birthdate=1950-01-01T00:00:00.000000000Z",
        "birthdate=1950-01-01T24:00:00Z",
        "birthdate=1950-01-01T23:59:60Z",
        "birthdate=1950-01-01T00:00:00%2B14:00",
        "birthdate=1950-01-01T00:00:00%2B99:00",
        "birthdate=\u0661\u0669\u0665\u0660",
        "family=%00",
        "%00=x",
        "family=%ED%A0%80",
        "family=%FF%FE",
        "family=%C0%AF",
        "family=%",
        "family=%zz",
        "family=%0d%0aSet-Cookie:%20x=1",
        "%0d%0aX-Injected:%201=x",
        "_include=*",
        "_include:iterate=Patient:link",
        "_include=Patient:link:Nope",
        "_revinclude=Task:patient:Patient:x",
        "_has:Task:patient:_has:Task:patient:status=x",
        "link.link.link.link.name=x",
        "_sort=" + ",".join(["family"] * 20),
        "_sort=" + "-" * 1000,
        "_elements=" + "a," * 900,
        "_summary=nonsense",
        "_filter=name eq 'x'",
        "identifier=|",
        "identifier=||||",
        "identifier=\\",
        "identifier=" + "\\," * 500,
        "general-practitioner=../../etc/passwd",
        "general-practitioner=http://169.254.169.254/latest/meta-data",
        "general-practitioner:identifier=" + "|" * 50,
    ],
)
def test_a_hostile_search_is_answered_soon_without_a_mistake(client: httpx.Client, query: str) -> None:
    began = time.monotonic()
    for answer in (
        client.get(f"/Patient?{query}"),
        client.post("/Patient/_search", content=query.encode(), headers=FORM),
    ):
        assert answer.status_code in (200, 400), f"{query[:80]}: {answer.status_code} {answer.text[:200]}"
        if answer.status_code == 400:
            issue_of(answer, 400)
        assert "set-cookie" not in answer.headers
        assert "x-injected" not in answer.headers
    assert time.monotonic() - began < 40


@pytest.mark.security("S32")
@pytest.mark.parametrize(
    "value", ["1e400", "-1e400", "1e-400", "9" * 400, "NaN", "inf", "0x1", "1_000", "٣", "--1", "+-1", "1e"]
)
def test_a_hostile_number_is_answered_without_a_mistake(client: httpx.Client, value: str) -> None:
    for prefix in ("", "gt", "ap"):
        answer = client.get("/Observation", params={"value-quantity": f"{prefix}{value}"})
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            issue_of(answer, 400)


@pytest.mark.security("S32")
def test_a_forged_page_link_is_400_or_finds_no_more(client: httpx.Client, victim: Corner) -> None:
    following = link_of(victim.bundle("Patient?_count=1&_sort=family"), "next")
    head, _, cursor = following.rpartition("_page=")
    padded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = [
        cursor[:-2],
        cursor + "AA",
        cursor[::-1],
        "A" * 10_000,
        "",
        "%00",
        "..%2f",
        base64.urlsafe_b64encode(padded[:-3]).decode().rstrip("="),
        base64.urlsafe_b64encode(b'{"k":"1 OR 1=1"}').decode(),
        base64.urlsafe_b64encode(b"\x80\x04\x95\x00").decode(),
        base64.urlsafe_b64encode(json.dumps([["'; --"], 1e999]).encode()).decode(),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
    ]
    for text in forged:
        answer = client.get(head + "_page=" + text)
        assert answer.status_code in (200, 400), f"{text[:60]}: {answer.status_code}"
        if answer.status_code == 400:
            issue_of(answer, 400)
        else:
            assert {one["id"] for one in matches_of(answer.json())} <= {victim.id("a"), victim.id("b")}
    issue_of(client.get(following.replace("/Patient?", "/Task?")), 400)
    issue_of(client.get(following.replace("_sort=family", "_sort=birthdate")), 400)


@pytest.mark.security("S39")
def test_many_histories_and_counts_at_once_are_all_answered(client: httpx.Client, victim: Corner) -> None:
    for _ in range(30):
        for path in (f"/Patient/{victim.id('a')}/_history?_count=0", "/Patient?_summary=count", "/Task?_summary=count"):
            assert client.get(path).status_code == 200
