"""Markup of strangers: what is left of it can be shown, and what people are to read is left."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.fhir.safe_markup import MOST, MOST_OPEN, safe_markup
from tests.api.staff.markup import Node, tree
from tests.support.hostile_narratives import HOSTILE

SHOWN = frozenset(
    "abbr address b big blockquote br caption cite code dd del dfn div dl dt em h3 hr i ins kbd li ol p pre q s samp small"
    " span strong sub sup table tbody td tfoot th thead tr tt u ul var".split()
)
GIVEN = {("td", "colspan"), ("td", "rowspan"), ("th", "colspan"), ("th", "rowspan"), ("ol", "start")}


def forbidden(markup: str) -> list[str]:
    """Every element and attribute in the markup that a page must not have."""
    found: list[str] = []
    for node in tree(markup).walk():
        if node.tag not in {*SHOWN, "document"}:
            found.append(node.tag)
        found += [f"{node.tag} {name}={value}" for name, value in node.attrs.items() if not _may(node, name, value)]
    return found


def _may(node: Node, name: str, value: str) -> bool:
    return (node.tag, name) in GIVEN and value.isdigit() and int(value) < 100


def test_there_are_many_and_each_is_another() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.security("S24")
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_could_run_load_style_name_or_submit_is_left(text: str) -> None:
    for div in (
        text,
        f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>',
        f"<div><p>before{text}after</p></div>",
    ):
        once = safe_markup(div)
        assert forbidden(once) == []
        assert safe_markup(once) == once, "what is safe is safe when it is parsed again"


@pytest.mark.security("S24")
@given(
    st.lists(
        st.sampled_from(
            "<svg> </svg> <math> </math> <mtext> <style> </style> <table> </table> <tr> <td> <p> </p> <b> </b> <form> </form>"
            " <select> <template> </template> <noscript> </noscript> <!-- --> --!> <![CDATA[ ]]> <a> </a> &lt; &gt; &quot; ' \" > <"
            " <img/src=x/onerror=hit()> <script> </script> <mglyph> <annotation-xml> <foreignObject> <title> </title> text \x00".split(
                " "
            )
        ),
        max_size=14,
    ).map("".join)
)
def test_no_mixture_of_broken_pieces_leaves_anything_either(text: str) -> None:
    once = safe_markup(text)
    assert forbidden(once) == []
    assert safe_markup(once) == once


@given(st.text(max_size=60))
def test_text_comes_through_as_text(text: str) -> None:
    found = tree(safe_markup(f"<p>{html.escape(text)}</p>")).text
    printable = [one for one in text if one.isprintable()]
    assert [one for one in found if one.isprintable() and one != " "] == [one for one in printable if one != " "]


def test_tables_lists_and_formatting_are_kept_as_they_were_meant() -> None:
    told = (
        '<div xmlns="http://www.w3.org/1999/xhtml"><h1 id="a">Care plan</h1><p class="x">For <b>two</b><br/>weeks</p>'
        '<table border="1"><caption>Doses</caption><thead><tr><th scope="col" rowspan="2">Drug</th></tr></thead>'
        '<tbody><tr><td colspan="3">Aspirin &amp; <i>more</i></td></tr></tbody></table><ol start="4"><li>Rest</li></ol></div>'
    )
    assert safe_markup(told) == (
        '<div><h3>Care plan</h3><p>For <b>two</b><br>weeks</p><table><caption>Doses</caption><thead><tr><th rowspan="2">Drug'
        '</th></tr></thead><tbody><tr><td colspan="3">Aspirin &amp; <i>more</i></td></tr></tbody></table>'
        '<ol start="4"><li>Rest</li></ol></div>'
    )


def test_the_words_of_a_link_stay_and_its_address_goes() -> None:
    assert safe_markup("<p>See <a href='https://example.org/x'>the leaflet</a>.</p>") == "<p>See the leaflet.</p>"


@pytest.mark.parametrize("span", ["0", "00", "100", "-1", "1e9", "99999999999", "2x", " 2", "\u0662", ""])
def test_a_cell_is_not_made_huge(span: str) -> None:
    assert safe_markup(f'<table><tr><td colspan="{span}">x</td></tr></table>').count("colspan") == 0


@pytest.mark.parametrize(
    "empty", ["", " ", "<div></div>", "<div> <br/> </div>", "<div><img src='x'/></div>", "<!-- x -->"]
)
def test_where_nothing_is_left_to_read_nothing_is_shown(empty: str) -> None:
    assert safe_markup(empty) == ""


@pytest.mark.security("S24", "S34")
@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 100_000,
        "<b>" * (MOST_OPEN + 1) + "x",
        "<p>x</p>" * (MOST // 8) + "y",
        "<a " * 60_000,
        "<" * MOST,
        "<b " + "a=1 " * 40_000 + ">x",
        "&#x" * 60_000,
        "<!--" * 50_000,
        "<table><tr><td>" * 20_000,
        "<svg><style>" * 15_000,
        "</p>" * 50_000,
        "<b><i></b></i>" * 14_000,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_huge_or_nested_deep_is_answered_and_stays_small(text: str) -> None:
    assert len(safe_markup(text)) <= 5 * MOST


def test_a_narrative_of_usual_depth_is_shown_and_lines_do_not_count() -> None:
    assert "deep" in safe_markup("<div>" * 50 + "deep" + "</div>" * 50)
    assert safe_markup("<div>" + "line<br>" * 5_000 + "</div>").count("<br>") == 5_000
