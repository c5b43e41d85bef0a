"""The XHTML of a narrative: well-formed, only formatting, something to read, nothing active.

https://hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from xml.parsers.expat import ExpatError, ParserCreate

NAMESPACE = "http://www.w3.org/1999/xhtml"
ELEMENTS = frozenset(
    "a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5"
    " h6 hr i img kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var".split()
)
ATTRIBUTES = frozenset(
    "abbr accesskey align axis char charoff class colspan dir headers id lang rowspan scope span style tabindex title"
    " valign width xml:lang".split()
)
ATTRIBUTES_OF = {
    "a": frozenset("charset coords href hreflang name rel rev shape type".split()),
    "area": frozenset("alt coords href nohref shape".split()),
    "blockquote": frozenset({"cite"}),
    "div": frozenset({"xmlns"}),
    "img": frozenset("alt border height ismap longdesc src usemap".split()),
    "map": frozenset({"name"}),
    "ol": frozenset({"type"}),
    "pre": frozenset({"space", "xml:space"}),
    "q": frozenset({"cite"}),
    "table": frozenset("border cellpadding cellspacing frame rules summary".split()),
    "td": frozenset({"nowrap"}),
}
_PARENTS = {
    "td": frozenset({"tr"}),
    "th": frozenset({"tr"}),
    "tr": frozenset({"table", "thead", "tbody", "tfoot"}),
}
_MARKUP_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)|<\?")
_SPACES = re.compile(r"[\x00-\x20]+")
_ACTIVE = ("javascript:", "vbscript:", "data:")
_ADDRESSES = frozenset({"href", "src", "cite", "longdesc", "usemap"})


class _Forbidden(Exception):
    """What the markup must not hold."""


class _Reader:
    """Follows one <div>: `readable` once there is text or an image; `links` are those to a place within it."""

    def __init__(self) -> None:
        self.started = False
        self.readable = False
        self.open: list[str] = []
        self.in_cdata = False
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name not in ELEMENTS:
            raise _Forbidden(
                "holds active or forbidden markup; only formatting, tables, lists, images and links may be used"
            )
        if not self.started:
            self.started = True
            if name != "div":
                raise _Forbidden("is not one XHTML <div> element")
            if attributes.get("xmlns") != NAMESPACE:
                raise _Forbidden(f'has a <div> outside of the namespace xmlns="{NAMESPACE}"')
        if name in _PARENTS and self.open[-1] not in _PARENTS[name]:
            raise _Forbidden("has a part of a table outside of where it belongs")
        self.open.append(name)
        if attributes:
            self.attributes(name, attributes)
        if name == "img":
            self.readable = True

    def attributes(self, name: str, attributes: dict[str, str]) -> None:
        for attribute, value in attributes.items():
            if attribute not in ATTRIBUTES and attribute not in ATTRIBUTES_OF.get(name, ()):
                raise _Forbidden("holds forbidden markup: an attribute that a narrative may not have")
            if attribute in _ADDRESSES:
                address = _SPACES.sub("", value).lower()
                if address.startswith(_ACTIVE) and not (name == "img" and address.startswith("data:image/")):
                    raise _Forbidden("holds active markup: a link that runs something")
                if address[:1] == "#" and name == "a":
                    self.links.add(value[1:])
            elif attribute in ("id", "name"):
                self.ids.add(value)

    def end(self, name: str) -> None:
        self.open.pop()

    def cdata(self) -> None:
        self.in_cdata = not self.in_cdata

    def text(self, text: str) -> None:
        if not self.readable and not self.in_cdata and not text.isspace():
            self.readable = True


def xhtml_fault(text: str) -> str | None:
    """What is wrong with `text` as the div of a Narrative, to follow the element's name; None when it is right."""
    if _MARKUP_DECLARATION.search(text):
        return "holds forbidden markup: a document type, an entity or a processing instruction; give one <div> element"
    reader = _Reader()
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartCdataSectionHandler = parser.EndCdataSectionHandler = reader.cdata
    try:
        parser.Parse(text, True)
    except _Forbidden as forbidden:
        return str(forbidden)
    except (ExpatError, ValueError):
        if not reader.started:
            return "is not one XHTML <div> element"
        return "holds markup that is not well-formed; of the named entities only amp, lt, gt, quot and apos are known"
    if not reader.links <= reader.ids:
        return "has a link to a place within the narrative that is not there"
    return None if reader.readable else "has no text and no image; a narrative has something to read"
