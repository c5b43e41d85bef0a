"""What each kind of search value finds: tokens, references, dates, strings, numbers and quantities.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.conformance import stock
from tests.conformance.talk import Corner

STOCKS: dict[str, Callable[[Corner], Corner]] = {
    "tokens": stock.tokens,
    "moments": stock.moments,
    "names": stock.names,
    "numbers": stock.numbers,
}


@pytest.fixture(scope="session")
def shelves(client: httpx.Client) -> dict[str, Corner]:
    """Each stock in a corner of its own."""
    return {name: fill(Corner(client)) for name, fill in STOCKS.items()}


TOKENS = [
    ("code=call", "a b"),
    ("code=http://x|call", "a"),
    ("code=http://x|", "a b d f"),
    ("code=|letter", "c"),
    ("code=|call", ""),
    ("code=http://x|call,letter", "a c"),
    ("code=call&code=http://x|also", "b"),
    ("code=call&code=letter", ""),
    (r"code=a\,b\|c\$d\\e", "d"),
    (r"code=http://x|a\,b\|c\$d\\e", "d"),
    ("code=CALL", "f"),
    ("identifier=1", "a b"),
    ("identifier=http://ids|1", "a"),
    ("identifier=|1", "b"),
    ("status=requested,draft", "a b c d e f g h"),
    ("status=http://hl7.org/fhir/task-status|draft", "c"),
    ("status:not=requested", "c"),
    ("code:not=call", "c d e f g h"),
    ("code:not=call,letter", "d e f g h"),
    ("code:missing=true", "e g h"),
    ("code:missing=false", "a b c d f"),
    ("owner:missing=true&status=requested", "a b"),
    ("status=", "a b c d e f g h"),
    ("status=,draft,", "c"),
]
REFERENCES = [
    ("owner=o1", "d h"),
    ("owner=Practitioner/o1", "d"),
    ("owner=PractitionerRole/o1", "h"),
    ("owner:Practitioner=o1", "d"),
    ("owner=http://other.example/fhir/Practitioner/o1", "f"),
    ("owner={base}/Practitioner/o1", "d"),
    ("owner={base}/Practitioner/o2", "g"),
    ("owner=Practitioner/o2", "g"),
    ("owner:identifier=http://npi|77", "e"),
    ("owner:identifier=78", ""),
    ("owner=Practitioner/o1,PractitionerRole/o1", "d h"),
    ("owner:missing=true", "a b c"),
    ("based-on=CarePlan/x", "g"),
    ("based-on=x", "g h"),
    ("based-on=CarePlan/y", ""),
]
MOMENTS = [
    ("authored-on=2025", "day fraction month second year zone"),
    ("authored-on=2025-03", "day fraction month second zone"),
    ("authored-on=2025-03-10", "day fraction second"),
    ("authored-on=2025-03-11", "zone"),
    ("authored-on=2025-03-10T12:00:00Z", "fraction second"),
    ("authored-on=2025-03-10T12:00:00.250Z", "fraction"),
    ("authored-on=2025-03-10T13:00:00%2B01:00", "fraction second"),
    ("authored-on=ne2025-03", "year"),
    ("authored-on=gt2025-03-10", "month year zone"),
    ("authored-on=lt2025-03-10", "month year"),
    ("authored-on=ge2025-03-10", "day fraction month second year zone"),
    ("authored-on=le2025-03-10", "day fraction month second year"),
    ("authored-on=sa2025-03-10", "zone"),
    ("authored-on=eb2025-03-10", ""),
    ("authored-on=eb2025-03-11", "day fraction second"),
    ("authored-on=ge2025-03-10&authored-on=lt2025-03-11T00:00:00Z", "day fraction month second year"),
    ("period=ge2025-03-10", "begun"),
    ("period=ge2025-03-09", "begun closed"),
    ("period=gt2030", "begun"),
    ("period=lt2000", "until"),
    ("period=2025-03-05", "whole"),
    ("period=2025-03", "closed whole"),
    ("period=sa2025-03-04", "begun whole"),
    ("period=eb2025-03-06", "until whole"),
    ("period=ap2025-03-05", "begun closed until whole"),
    ("period:missing=false", "begun closed until whole"),
    ("authored-on:missing=true", "begun closed none until whole"),
]
NAMES = [
    ("family=muller", "plain tail umlaut upper"),
    ("family=MÜLLER", "plain tail umlaut upper"),
    ("family:exact=Müller", "umlaut"),
    ("family:exact=muller", ""),
    ("family:exact=Muller", "plain"),
    ("family:contains=mull", "inside plain tail umlaut upper"),
    ("family:contains=-lee", "tail"),
    ("family=100%25", "percent"),
    ("family=%25", ""),
    ("family:contains=%25", "percent"),
    ("family=a_", "underline"),
    ("family:contains=_", "underline"),
    ("family=a\\\\b", "slash"),
    ("family=van der", "space"),
    ("family=VAN DER BERG", "space"),
    ("family=Doe\\, Jr", "comma"),
    ("family=Doe,Ash", "comma two"),
    ("family=strauss", "sharp"),
    ("family=山", "kana"),
    ("name=cy", "two"),
    ("family=ash&family=birch", "two"),
    ("family=ash&given=cy", "two"),
    ("family:missing=true", "nameless"),
]
NUMBERS = [
    ("Observation?value-quantity=5|http://unitsofmeasure.org|mg", "five five4 five44"),
    ("Observation?value-quantity=5.4|http://unitsofmeasure.org|mg", "five4 five44"),
    ("Observation?value-quantity=5.44|http://unitsofmeasure.org|mg", "five44"),
    ("Observation?value-quantity=5||mg", "five five4 five44"),
    ("Observation?value-quantity=5", "five five4 five44 gram"),
    ("Observation?value-quantity=5|http://unitsofmeasure.org|g", "gram"),
    ("Observation?value-quantity=7||tablets", "bare"),
    ("Observation?value-quantity=gt6", "bare hundred"),
    ("Observation?value-quantity=ge100", "hundred"),
    ("Observation?value-quantity=gt100", ""),
    ("Observation?value-quantity=1e2", "hundred"),
    ("Observation?value-quantity=100.0", "hundred"),
    ("Observation?value-quantity=-3", "minus"),
    ("Observation?value-quantity=ne5||mg", "hundred less minus"),
    ("Observation?value-quantity=gt5&value-quantity=lt50", "bare five4 five44"),
    ("RiskAssessment?probability=0.1", "low lower"),
    ("RiskAssessment?probability=0.10", "low"),
    ("RiskAssessment?probability=gt0.5", "high"),
    ("RiskAssessment?probability=lt0.1", "lower"),
    ("RiskAssessment?probability=ap0.95", "high"),
]


def ids(rows: list[tuple[str, str]]) -> list[str]:
    return [query for query, _ in rows]


@pytest.mark.requirement(20, 25)
@pytest.mark.parametrize(("query", "names"), TOKENS, ids=ids(TOKENS))
def test_a_token_finds(shelves: dict[str, Corner], query: str, names: str) -> None:
    assert shelves["tokens"].names(f"Task?{query}") == names


@pytest.mark.requirement(21, 25)
@pytest.mark.parametrize(("query", "names"), REFERENCES, ids=ids(REFERENCES))
def test_a_reference_finds(shelves: dict[str, Corner], query: str, names: str) -> None:
    corner = shelves["tokens"]
    base = str(corner.client.base_url).rstrip("/")
    assert corner.names(f"Task?{query.replace('{base}', base)}") == names


@pytest.mark.requirement(22)
@pytest.mark.parametrize(("query", "names"), MOMENTS, ids=ids(MOMENTS))
def test_a_date_finds(shelves: dict[str, Corner], query: str, names: str) -> None:
    assert shelves["moments"].names(f"Task?{query}") == names


@pytest.mark.requirement(20)
@pytest.mark.security("S33")
@pytest.mark.parametrize(("query", "names"), NAMES, ids=ids(NAMES))
def test_a_string_finds(shelves: dict[str, Corner], query: str, names: str) -> None:
    assert shelves["names"].names(f"Patient?{query}") == names


@pytest.mark.requirement(19, 26)
@pytest.mark.parametrize(("query", "names"), NUMBERS, ids=ids(NUMBERS))
def test_a_number_or_quantity_finds(shelves: dict[str, Corner], query: str, names: str) -> None:
    assert shelves["numbers"].names(query) == names
