"""Primitives have the formats of the specification's own table, with the few differences named here.

https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import re
import time
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fhir_tracker.fhir.json_types import Exact, Json
from fhir_tracker.fhir.primitives import LARGEST_INTEGER, LONGEST_STRING, PRIMITIVES

YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
DAY = r"(0[1-9]|1[0-2])-(0[1-9]|[1-2][0-9]|3[0-1])"
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
ZONE = r"(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
PUBLISHED: dict[str, str] = {
    "code": r"[^\s]+(\s[^\s]+)*",
    "date": rf"{YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1]))?)?",
    "dateTime": rf"{YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])(T{TIME}{ZONE})?)?)?",
    "id": r"[A-Za-z0-9\-\.]{1,64}",
    "instant": rf"{YEAR}-{DAY}T{TIME}{ZONE}",
    "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
    "time": TIME,
    "uri": r"\S+",
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
VISIBLE = st.characters(
    min_codepoint=32,
    exclude_categories=["Cs", "Zs", "Zl", "Zp"],
    exclude_characters="\x85",
    include_characters=" ",
)
RIGHT = {
    type_: st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True, alphabet=VISIBLE)
    for type_, pattern in PUBLISHED.items()
}
NEAR = {type_: st.from_regex(re.compile(pattern), fullmatch=True) for type_, pattern in PUBLISHED.items()}
DATED = ("date", "dateTime", "instant")
BASE64 = r"(\s*([0-9a-zA-Z\+\/=]){4}\s*)+"


def accepted(type_: str, value: Json) -> bool:
    return PRIMITIVES[type_](value) is None


@pytest.mark.parametrize("type_", PUBLISHED)
@given(data=st.data())
def test_what_the_published_pattern_allows_is_accepted(type_: str, data: st.DataObject) -> None:
    text = data.draw(RIGHT[type_])
    if type_ in DATED:
        assume(int(text[8:10] or 1) <= 28)
    assert accepted(type_, text)


@pytest.mark.parametrize("type_", PUBLISHED)
@given(data=st.data())
def test_what_is_accepted_the_published_pattern_allows(type_: str, data: st.DataObject) -> None:
    spoiled = st.builds(
        lambda text, at, put: text[:at] + put + text[at:], NEAR[type_], st.integers(0, 30), st.text(max_size=2)
    )
    text = data.draw(st.text(max_size=30) | NEAR[type_] | spoiled)
    if accepted(type_, text):
        assert re.fullmatch(PUBLISHED[type_], text)


@given(st.text("ABab01+/= \n", max_size=40))
def test_base64_is_whole_groups_of_four(text: str) -> None:
    if accepted("base64Binary", text):
        assert re.fullmatch(BASE64, "".join(text.split()))


@pytest.mark.security("S34")
@pytest.mark.parametrize("start", ["", "QUJD", "QUJD QUI="])
def test_white_space_of_any_length_in_base64_is_read_once(start: str) -> None:
    began = time.process_time()
    assert not accepted("base64Binary", start + " \n" * 100_000 + "!")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("type_", "right", "wrong"),
    [
        ("boolean", [True, False], ["true", 0, 1, None, "", [], Exact("1.0")]),
        ("integer", [0, -1, LARGEST_INTEGER, -LARGEST_INTEGER - 1], [True, "1", 2**31, -(2**31) - 1, Exact("1.0"), None]),
        ("unsignedInt", [0, 1, LARGEST_INTEGER], [-1, 2**31, "0", False, Exact("0.0")]),
        ("positiveInt", [1, LARGEST_INTEGER], [0, -1, 2**31, "1", True]),
        ("decimal", [0, -5, Exact("1.50"), Exact("1e-10"), Decimal("2.5")], ["1.5", True, None, []]),
        ("string", ["a", " a", " ", "\x1f", "a\tb\r\nc", "\U0001f600", "\u00a0a", "a" * LONGEST_STRING], ["", 1, None]),
        ("markdown", ["# a", "a\n\n- b"], ["", {}, "a" * (LONGEST_STRING + 1)]),
        ("code", ["a", "a b", "-"], ["", " a", "a ", "a  b", "a\tb", "\n", "a\x02b", 1]),
        ("id", ["a", "A-1.b", "1" * 64, "."], ["", "a_b", "a/b", "1" * 65, "é", "a\n"]),
        ("uri", ["http://x", "urn:x", "a", "/b?c#d", "urn:oid:1.2"], ["", " ", "a b", "a\n", "a\x01", 1, None, "oid:1.2", "uuid:1"]),
        ("uri", ["urn:oidx:1", "urn:uuid:" + "c" * 8 + "-1111-2222-3333-" + "d" * 12], ["urn:oid:01.2", "urn:uuid:1", "urn:oid:"]),
        ("url", ["http://x", "mailto:a@b.example"], ["http://x y", ""]),
        ("canonical", ["http://x|1", "http://x|1#y", "#x", "urn:x"], ["http://x |1", "", "x", "Questionnaire/1"]),
        ("oid", ["urn:oid:1.2.3", "urn:oid:2.16.840"], ["1.2.3", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02", "urn:oid:1."]),
        ("uuid", ["urn:uuid:" + "c" * 8 + "-1111-2222-3333-" + "d" * 12], ["urn:uuid:1", "URN:UUID:x", "urn:uuid:" + "C" * 36]),
        ("base64Binary", ["QUJD", "QUI=", "QQ==", "QUJD\nQUJD"], ["", " ", "QU JD", "QUJ", "Q===", "QU-D", "=", 1]),
        ("date", ["2024", "2024-02", "2024-02-29", "0001", "9999-12-31"], ["24", "2023-02-29", "0000", "2024-2", "2024-02-29T00:00:00Z"]),
        (
            "dateTime",
            ["2024", "2024-02-29T10:00:00Z", "2024-02-29T23:59:60.123456789-05:00"],
            ["2024-02-29T10:00Z", "2024-02-29T10:00:00", "2024-02-30", "2024-02-29T24:00:00Z", "2024-02-29 10:00:00Z"],
        ),
        ("instant", ["2024-02-29T10:00:00Z", "2024-02-29T10:00:00.1+14:00"], ["2024", "2024-02-29", "2024-02-29T10:00:00+14:01"]),
        ("time", ["00:00:00", "23:59:60.999"], ["24:00:00", "10:00", "10:00:00Z", "10:60:00", ""]),
    ],
)  # fmt: skip
def test_a_table_of_right_and_wrong_values(type_: str, right: list[Json], wrong: list[Json]) -> None:
    assert [value for value in right if not accepted(type_, value)] == []
    assert [value for value in wrong if accepted(type_, value)] == []


@pytest.mark.parametrize("type_", PRIMITIVES)
@given(value=st.text("JQXZ$~\u0001", min_size=4, max_size=30) | st.integers() | st.booleans())
def test_a_fault_says_what_is_right_and_never_the_value(type_: str, value: Json) -> None:
    wrong = PRIMITIVES[type_](value)
    if isinstance(value, str) and wrong is not None and len(set(value)) > 3:
        assert value not in wrong
    assert wrong is None or wrong.startswith(("is ", "holds "))


DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
HARMLESS = [
    "plain",
    "<p>a <b>b</b> <i>c</i></p>",
    '<table class="x"><tr><td>a</td></tr></table>',
    '<a href="http://example.org/x?on=1">a</a>',
    '<img src="#pic" alt="a"/>',
    '<img src="data:image/png;base64,QUJD" alt="a"/>',
    '<a href="#there">a</a> <p id="there">b</p>',
    "a &#160; b &amp; c",
    "a &lt;script&gt; b",
    "the base of the head, the form, the object",
    "once = on = off",
    '<p title="javascript is a word">x</p>',
    '<span style="color: red">x</span>',
]
ACTIVE = [
    "<script>alert(1)</script>",
    "<SCRIPT >x</SCRIPT>",
    "<script/src=x>",
    "<iframe src='x'></iframe>",
    "<object data='x'/>",
    "<embed src='x'/>",
    "<form action='x'><input/></form>",
    "<base href='http://evil.example/'/>",
    "<link rel='stylesheet' href='x'/>",
    "<meta http-equiv='refresh' content='0'/>",
    "<svg onload='x'/>",
    "<math></math>",
    "<img src=x onerror=alert(1)>",
    "<img src='x' OnError = 'alert(1)'/>",
    "<b\nonclick='x'>y</b>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVaScRiPt:x'>x</a>",
    "<style>*{}</style>",
    "<!DOCTYPE x>",
    "<!ENTITY x 'y'>",
    "<?xml-stylesheet href='x'?>",
    "< script>x",
    "</script>",
    "<audio src='x' autoplay/>",
    "<frameset><frame/></frameset>",
    "<a href='java\nscript:x'>x</a>",
    "<a href=' javascript:x'>x</a>",
    "<a href='&#106;avascript:x'>x</a>",
    "<a href='data:text/html,x'>x</a>",
    "<img src='vbscript:x'/>",
    "<h7>x</h7>",
    "<p nonsense='x'>x</p>",
    "<P>x</P>",
    "x&nbsp;y",
    "x & y",
    "x<br>y",
]
NOTHING = ["", " \n ", "<p> </p>", "<hr/>", "<!-- words -->"]


@pytest.mark.security("S24")
@pytest.mark.parametrize("inner", HARMLESS)
def test_a_narrative_may_be_formatted(inner: str) -> None:
    assert accepted("xhtml", DIV.format(inner))


@pytest.mark.security("S24")
@pytest.mark.parametrize("inner", ACTIVE)
def test_a_narrative_may_not_act(inner: str) -> None:
    wrong = PRIMITIVES["xhtml"](DIV.format(inner))
    assert wrong is not None
    assert "markup" in wrong


@pytest.mark.parametrize("inner", NOTHING)
def test_a_narrative_has_something_to_read(inner: str) -> None:
    wrong = PRIMITIVES["xhtml"](DIV.format(inner))
    assert wrong is not None
    assert "to read" in wrong


def test_a_link_within_a_narrative_leads_somewhere() -> None:
    assert accepted("xhtml", DIV.format('<a href="#x">a</a> <a name="x">b</a>'))
    assert not accepted("xhtml", DIV.format('<a href="#x">a</a>'))


@pytest.mark.parametrize(
    "value",
    [
        "<div>words</div>",
        '<div xmlns="http://www.w3.org/2000/svg">words</div>',
        "words",
        "<p>x</p>",
        "<div",
        "",
        " ",
        None,
        5,
        {},
    ],
)
def test_a_narrative_is_one_div(value: Json) -> None:
    assert not accepted("xhtml", value)
