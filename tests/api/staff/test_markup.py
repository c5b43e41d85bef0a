"""The reader of pages must see what is wrong, or the tests that use it prove nothing."""

from __future__ import annotations

import pytest

from tests.api.staff.markup import problems, tree

SOUND = '<!doctype html><html lang="en"><head><title>A</title></head><body><main id="main"><h1>A</h1>{}</main></body></html>'


def test_a_sound_page_has_no_problems() -> None:
    assert problems(SOUND.format('<h2>B</h2><p><a href="/x">X</a> and <a href="/x#y">X</a></p>')) == []


@pytest.mark.parametrize(
    ("markup", "told"),
    [
        ("<h1>B</h1>", "2 <h1>"),
        ("<h3>B</h3>", "h1 is followed by h3"),
        ("<h2> </h2>", "<h2> says nothing"),
        ('<p id="a"></p><p id="a"></p>', "id 'a' is there 2 times"),
        ('<p aria-describedby="b"></p>', "aria-describedby names no element: b"),
        ('<a href="#b">B</a>', "nothing is at #b"),
        ('<input name="x">', "<input x> has no label"),
        ('<input id="x" name="x" aria-invalid="true" aria-label="X">', "x is wrong and does not say why"),
        ('<select aria-label="X" name="x"></select>', "select x has no options"),
        ("<button></button>", "<button> has no name"),
        ('<form method="post" action="/x"><button>X</button></form>', "0 tokens in /x"),
        ('<form method="get" action="/x"><input type="hidden" name="csrf" value="t"></form>', "would be in an address"),
        ('<form action="//evil.example"></form>', "leads elsewhere"),
        ("<time>now</time>", "<time> without a moment"),
        ('<p onclick="x()">', "<p> has onclick"),
        ('<p style="color:red"></p>', "<p> has style"),
        ("<script>x()</script>", "a script in the page"),
        ('<a href="javascript:x()">X</a>', "leads to 'javascript:x()'"),
        ('<a href="https://evil.example">X</a>', "leads to 'https://evil.example'"),
        ('<a href="/a">X</a><a href="/b">X</a>', "'X' leads to ['/a', '/b']"),
        ('<a href="/a"><button>X</button></a>', "<button> inside <a>"),
        ("<ul><p>X</p></ul>", "<p> in a list"),
        ("<li>X</li>", "<li> outside a list"),
        ("<svg></svg>", "a picture without words"),
        ("<table></table>", "a table without a caption"),
        ("<table><caption>C</caption><tr><th>X</th></tr></table>", "<th> X is of no row or column"),
        ("<p><b>X</p></b>", "</p> closes <b>"),
        ('<p class="a" class="b"></p>', "<p> has class twice"),
    ],
)
def test_each_mistake_is_seen(markup: str, told: str) -> None:
    assert any(told in one for one in problems(SOUND.format(markup)))


def test_the_same_words_in_two_rows_are_told_apart_by_their_rows() -> None:
    rows = '<ul><li>Ana <a href="/a">Call</a></li><li>Bo <a href="/b">Call</a></li></ul>'
    assert problems(SOUND.format(rows)) == []


def test_text_is_read_with_entities_undone_and_on_one_line() -> None:
    assert tree("<p>a &lt;b&gt;\n <b>c</b></p>").text == "a <b> c"
