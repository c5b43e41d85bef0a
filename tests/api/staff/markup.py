"""Reading a page as a browser's tree, and everything that is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

_VOID = frozenset({"meta", "link", "input", "br", "hr", "img", "path", "circle", "rect", "line"})
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_CONTEXTS = ("li", "td", "tr", "section", "nav", "header", "footer", "main")
_INTERACTIVE = ("a", "button", "input", "select", "textarea", "summary")


@dataclass
class Node:
    """One element: what it is called, its attributes, and what it holds."""

    tag: str
    attrs: dict[str, str]
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This element and all below, in order."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, *tags: str) -> list[Node]:
        """The elements of these names below."""
        return [node for node in self.walk() if node.tag in tags]

    def inside(self, *tags: str) -> Node | None:
        """The nearest element around this one with one of these names."""
        node = self.parent
        while node is not None and node.tag not in tags:
            node = node.parent
        return node

    @property
    def text(self) -> str:
        """Its words, on one line."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join(" ".join(parts).split())

    @property
    def name(self) -> str:
        """What a screen reader calls it."""
        return self.attrs.get("aria-label") or self.text


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("document", {})
        self.here = self.root
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        doubled = [name for name, count in Counter(name for name, _ in attrs).items() if count > 1]
        self.wrong += [f"<{tag}> has {name} twice" for name in doubled]
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(node)
        if tag not in _VOID:
            self.here = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if self.here.tag != tag:
            self.wrong.append(f"</{tag}> closes <{self.here.tag}>")
        self.here = self.here.parent or self.root

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)


def tree(page: str) -> Node:
    """The page as a tree."""
    return _build(page).root


def problems(page: str) -> list[str]:
    """What a browser, a screen reader or a policy would object to; empty for a sound page."""
    built = _build(page)
    root = built.root
    found = [*built.wrong, *([] if built.here is root else [f"<{built.here.tag}> is never closed"])]
    for check in (_frame, _ids, _fields, _forms, _moments, _harmless, _links, _headings, _nesting, _tables):
        found += check(root)
    return found


def _build(page: str) -> _Builder:
    builder = _Builder()
    builder.feed(page)
    builder.close()
    return builder


def _frame(root: Node) -> list[str]:
    found = [f"{len(root.all(tag))} <{tag}>" for tag in ("h1", "main", "head", "body") if len(root.all(tag)) != 1]
    found += ["no title"] if not any(node.inside("head") and node.text for node in root.all("title")) else []
    found += ["no language"] if not root.all("html")[0].attrs.get("lang") else []
    return found + [f"<{node.tag}> says nothing" for node in root.all("h1", "h2", "h3", "title", "th") if not node.text]


def _ids(root: Node) -> list[str]:
    ids = Counter(node.attrs["id"] for node in root.walk() if "id" in node.attrs)
    found = [f"id {name!r} is there {count} times" for name, count in ids.items() if count > 1 or not name.strip()]
    for node in root.walk():
        for name in ("for", "aria-describedby", "aria-labelledby"):
            found += [f"{name} names no element: {one}" for one in node.attrs.get(name, "").split() if one not in ids]
        if node.attrs.get("href", "").startswith("#") and node.attrs["href"][1:] not in ids:
            found.append(f"nothing is at {node.attrs['href']}")
    return found


def _fields(root: Node) -> list[str]:
    labelled = {node.attrs["for"] for node in root.all("label") if node.text}
    found = []
    for node in root.all("input", "select", "textarea"):
        if node.attrs.get("type") == "hidden":
            continue
        if node.attrs.get("id") not in labelled and not node.attrs.get("aria-label"):
            found.append(f"<{node.tag} {node.attrs.get('name')}> has no label")
        if node.attrs.get("aria-invalid") == "true" and not node.attrs.get("aria-describedby"):
            found.append(f"{node.attrs.get('name')} is wrong and does not say why")
    for select in root.all("select"):
        options = select.all("option")
        found += [f"select {select.attrs.get('name')} has no options"] if not options else []
        found += ["two options are selected"] if sum("selected" in one.attrs for one in options) > 1 else []
    return found + [f"<{node.tag}> has no name" for node in root.all("button", "a", "summary") if not node.name]


def _forms(root: Node) -> list[str]:
    found = []
    for form in root.all("form"):
        tokens = [node for node in form.all("input") if node.attrs.get("name") == "csrf"]
        action = form.attrs.get("action", "")
        found += [f"form {action!r} leads elsewhere"] if not _is_local(action) else []
        if form.attrs.get("method") == "post":
            found += [f"{len(tokens)} tokens in {action}"] if len(tokens) != 1 or not tokens[0].attrs["value"] else []
            found += [f"form {action} has no button"] if not form.all("button") else []
        elif tokens:
            found.append(f"the token of {action} would be in an address")
    return found


def _moments(root: Node) -> list[str]:
    return [
        f"<time> without a moment: {node.text}"
        for node in root.all("time")
        if not _MOMENT.fullmatch(node.attrs.get("datetime", "")) or not node.attrs.get("title")
    ]


def _harmless(root: Node) -> list[str]:
    found = []
    for node in root.walk():
        bad = [name for name in node.attrs if name.startswith("on") or name in ("style", "srcdoc", "formaction")]
        found += [f"<{node.tag}> has {name}" for name in bad]
        for name in ("href", "src", "action"):
            if name in node.attrs and not _is_local(node.attrs[name]):
                found.append(f"<{node.tag}> leads to {node.attrs[name]!r}")
    found += ["a script in the page"] * sum(bool(node.text) for node in root.all("script"))
    return found + [f"<{node.tag}>" for node in root.all("style", "iframe", "object", "embed", "base")]


def _links(root: Node) -> list[str]:
    """The same words for two places, where nothing around them tells which is which."""
    where: dict[tuple[str, int], set[str]] = {}
    for node in root.all("a"):
        around = node.inside(*_CONTEXTS)
        target = node.attrs.get("href", "").partition("#")[0]
        where.setdefault((node.name, id(around)), set()).add(target)
    return [f"{name!r} leads to {sorted(targets)}" for (name, _), targets in where.items() if len(targets) > 1]


def _headings(root: Node) -> list[str]:
    levels = [int(node.tag[1]) for node in root.all("h1", "h2", "h3", "h4") if node.inside("main")]
    first = next((n for n, level in enumerate(levels) if level == 1), 0)
    steps = zip(levels[first:], levels[first + 1 :], strict=False)
    return [f"h{before} is followed by h{after}" for before, after in steps if after > before + 1]


def _nesting(root: Node) -> list[str]:
    found = []
    for node in root.walk():
        around = node.inside("a", "button", "summary") if node.tag in _INTERACTIVE else None
        found += [f"<{node.tag}> inside <{around.tag}>"] if around else []
        found += ["a form inside a form"] if node.tag == "form" and node.inside("form") else []
        found += (
            ["<li> outside a list"] if node.tag == "li" and node.parent and node.parent.tag not in ("ul", "ol") else []
        )
        if node.tag in ("ul", "ol"):
            found += [f"<{one.tag}> in a list" for one in node.children if isinstance(one, Node) and one.tag != "li"]
        if node.tag == "svg" and not _is_hidden(node) and not node.all("title"):
            found.append("a picture without words")
    return found


def _is_hidden(node: Node | None) -> bool:
    return node is not None and (node.attrs.get("aria-hidden") == "true" or _is_hidden(node.parent))


def _tables(root: Node) -> list[str]:
    found = [
        "a table without a caption" for node in root.all("table") if not any(one.text for one in node.all("caption"))
    ]
    return found + [f"<th> {node.text} is of no row or column" for node in root.all("th") if "scope" not in node.attrs]


def _is_local(address: str) -> bool:
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc and address.startswith(("/", "#"))
