"""What of a narrative may stand in a page: text, paragraphs, lists and tables; nothing that runs, loads, styles, names or submits.

The div of a Narrative comes from whoever wrote the resource, and stored ones were perhaps never checked. It is parsed as a
browser parses HTML and written anew from what is allowed. https://hl7.org/fhir/R4/narrative.html#security
"""

from __future__ import annotations

import re

import nh3

MOST = 200_000
"""Characters of a narrative that is shown; a longer one is left out."""
MOST_OPEN = 200
"""How deep elements may lie in each other."""
_ELEMENTS = frozenset(
    "abbr address b big blockquote br caption cite code dd del dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i ins kbd li ol p pre q"
    " s samp small span strong sub sup table tbody td tfoot th thead tr tt u ul var".split()
)
_GONE_WITH_CONTENT = frozenset(
    "script style template noscript iframe frame frameset object embed applet svg math textarea select option title head xmp"
    " noembed noframes plaintext audio video canvas form button".split()
)
_ATTRIBUTES = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "ol": {"start"}}
_SPAN = re.compile(r"[1-9][0-9]?", re.ASCII)
_HEADING = re.compile(r"<(/?)h[1-6]>")
_TAG = re.compile(r"<(/?+)([A-Za-z][A-Za-z0-9]*+)[^<>]*+>")
_VOID = frozenset(("br", "hr", "img", "col", "area"))


def safe_markup(div: str) -> str:
    """The markup to show for `text.div`; "" for one that is too long, nested too deep, or holds nothing to read.

    Headings become those below a page's own sections. Links and pictures are left out: pages lead and load nowhere else.
    """
    if len(div) > MOST or _depth(div) > MOST_OPEN:
        return ""
    clean = nh3.clean(
        div,
        tags=set(_ELEMENTS),
        clean_content_tags=set(_GONE_WITH_CONTENT),
        attributes={name: set(allowed) for name, allowed in _ATTRIBUTES.items()},
        attribute_filter=_kept,
        url_schemes=set(),
        link_rel=None,
    )
    return _HEADING.sub(r"<\1h3>", clean) if _TAG.sub("", clean).strip() else ""


def _kept(element: str, name: str, value: str) -> str | None:
    return value if _SPAN.fullmatch(value) else None


def _depth(text: str) -> int:
    """How many elements are open at most; those that end nowhere count as open."""
    deepest = level = 0
    for found in _TAG.finditer(text):
        level += -1 if found[1] else 0 if found[0].endswith("/>") or found[2].lower() in _VOID else 1
        deepest = max(deepest, level)
    return deepest
