"""Of an EHR's colours those are taken that leave every text of ours readable, and nothing else that it sends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import api.staff
from fhir_tracker.model.smart_style import CONTRAST, LIGHT, READ_ON, colours_in, contrast, is_readable, sheet

TOKENS = Path(api.staff.__file__).parent / "static" / "tokens.css"
THEIRS = ("color_background", "color_text", "color_highlight", "color_error", "color_success")
SHEET = re.compile(
    r"@media screen and \(prefers-color-scheme: light\) \{ :root \{( --[a-z-]+: #[0-9a-f]{6};)+ \} \}\n|"
)


def of(**told: object) -> dict[str, str]:
    return colours_in(json.dumps(told).encode())


def test_our_own_colours_are_those_of_the_pages_and_can_be_read() -> None:
    light = TOKENS.read_text(encoding="utf-8").partition("@media")[0]
    there = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", light))
    assert {name: there[name] for name in LIGHT} == dict(LIGHT)
    assert is_readable(LIGHT)
    assert set(READ_ON) | {one for below in READ_ON.values() for one in below} == set(LIGHT)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
        ("#0000ff", "#ffffff", 8.59),
        ("#ff0000", "#00ff00", 2.91),
    ],
)
def test_contrast_is_counted_as_wcag_has_it(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)
    assert contrast(other, one) == contrast(one, other)


def test_the_example_of_the_specification_gives_what_of_it_can_be_read() -> None:
    told = {
        "color_background": "#edeae3",
        "color_error": "#9e2d2d",
        "color_highlight": "#69b5ce",
        "color_modal_backdrop": "",
        "color_success": "#498e49",
        "color_text": "#303030",
        "dim_border_radius": "6px",
        "dim_font_size": "13px",
        "dim_spacing_size": "20px",
        "font_family_body": "Georgia, Times, 'Times New Roman', serif",
        "font_family_heading": "'HelveticaNeue-Light', Helvetica, Arial, sans-serif;",
    }
    found = of(**told)
    assert found == {"ground": "#edeae3", "ink": "#303030", "late": "#9e2d2d"}
    assert sheet(found) == (
        "@media screen and (prefers-color-scheme: light) "
        "{ :root { --ground: #edeae3; --ink: #303030; --late: #9e2d2d; } }\n"
    )


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ({"color_highlight": "#004488"}, {"accent": "#004488", "accent-ink": "#ffffff"}),
        ({"color_highlight": "#048"}, {"accent": "#004488", "accent-ink": "#ffffff"}),
        ({"color_highlight": "#ABCDEF"}, {}),
        ({"color_background": "#000000"}, {}),
        ({"color_background": "#000000", "color_text": "#ffffff"}, {}),
        ({"color_text": "#cccccc"}, {}),
        ({"color_success": "#0A5522"}, {"done": "#0a5522"}),
        ({"color_background": "#fff", "color_text": "#000"}, {"ground": "#ffffff", "ink": "#000000"}),
    ],
)
def test_a_colour_is_taken_when_every_text_stays_readable(told: dict[str, str], taken: dict[str, str]) -> None:
    assert of(**told) == taken


@pytest.mark.security("S23", "S58")
@pytest.mark.parametrize(
    "value",
    [
        "red",
        "#12",
        "#1234",
        "#12345678",
        "#00448g",
        " #004488",
        "#004488;",
        "#004488} body { display: none",
        "url(https://evil.example)",
        "expression(alert(1))",
        "var(--ink)",
        "",
        7,
        None,
        ["#004488"],
        {"a": 1},
        "#００4488",
    ],
)
def test_what_is_no_colour_is_left_out(value: object) -> None:
    assert of(color_highlight=value, color_text="#000000") == {"ink": "#000000"}


@pytest.mark.security("S34", "S58")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"#000000"',
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"a": NaN}',
        b"<html>",
        b'{"color_text": 1e999}',
    ],
)
def test_what_is_no_style_sheet_gives_no_colours(text: bytes) -> None:
    assert sheet(colours_in(text)) == ""


@given(st.dictionaries(st.sampled_from(THEIRS), st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True)))
def test_whatever_an_ehr_tells_every_text_keeps_its_contrast(told: dict[str, str]) -> None:
    palette = {**LIGHT, **of(**told)}
    assert min(contrast(palette[one], palette[below]) for one, under in READ_ON.items() for below in under) >= CONTRAST
    assert SHEET.fullmatch(sheet(of(**told)))
