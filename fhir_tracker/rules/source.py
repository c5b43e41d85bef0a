"""Reads YAML safely into nodes that know their line, column and path, and collects every problem found in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

import yaml

from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.model.program import Duration
from fhir_tracker.rules.durations import parse_duration

MAX_CHARACTERS: Final = 256_000
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 20
_MOST_COMPARED: Final = 300
MAX_PROBLEMS: Final = 100
"""As many are told of one file; who mends these is told the next."""
CODE: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_LONG: Final = re.compile(r'"([^"]{80})[^"]{40,}"')
_SHORTER: Final = r'"\1..."'
_NOT_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that no FHIR string may have, and those by which a text could write over a terminal."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a node stands: line and column counted from 1, and a path such as `tasks[1].due`."""

    line: int
    column: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Text:
    """A scalar as it was written; `quoted` tells `"no"` from `no`."""

    place: Place
    value: str
    quoted: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing:
    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A mapping; `keys` holds where each key stands."""

    place: Place
    entries: Mapping[str, Node]
    keys: Mapping[str, Place]


Node = Text | Listing | Table


class TooManyProblems(Exception):
    """Reading stops: as many problems are noted as are told of one file."""


@dataclass(kw_only=True)
class Problems:
    """What is wrong and what is doubtful in one file, in the order found."""

    issues: list[Issue] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, place: Place, message: str, path: str | None = None) -> None:
        """Note an error at `place`; `path` replaces the place's own. Raises TooManyProblems after the last one to tell."""
        text = f"line {place.line}, column {place.column}: {_LONG.sub(_SHORTER, message)}"
        issue = Issue(message=text, expression=path if path is not None else place.path or None)
        if issue in self.issues:
            return
        self.issues.append(issue)
        if len(self.issues) >= MAX_PROBLEMS:
            raise TooManyProblems

    def warn(self, place: Place, message: str) -> None:
        """Note something legal that the author should see."""
        self.warnings.append(f"line {place.line}, column {place.column}: {message}")

    def check(self, what: str) -> None:
        """Raise Incorrect with all errors, by line, when there are any."""
        if not self.issues:
            return
        issues = tuple(sorted(self.issues, key=_position))
        count = "1 problem" if len(issues) == 1 else f"{len(issues)} problems"
        if len(issues) >= MAX_PROBLEMS:
            count = f"the first {count}"
        raise Incorrect(f"{what}: {count}", issues=issues)


def load(text: str, problems: Problems) -> Node | None:
    """The one document in `text`, or None after noting why not; aliases, tags and doubled keys are refused."""
    start = Place(line=1, column=1, path="")
    if len(text) > MAX_CHARACTERS:
        problems.add(start, f"the file has {len(text)} characters, the most is {MAX_CHARACTERS}")
        return None
    try:
        return _Builder(problems).build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(line=mark.line + 1, column=mark.column + 1, path="") if mark else start
        problems.add(place, f"not YAML: {error.problem or error.context}")
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(line=before.count("\n") + 1, column=len(before) - before.rfind("\n"), path="")
        problems.add(place, "a character that YAML does not allow")
    except ValueError as error:
        problems.add(start, f"not YAML: {error}")
    except _Refused:
        pass
    return None


def suggestion(word: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` or ` (known: a, b, c)` for an unknown word."""
    names = sorted(set(known))
    near = names if len(names) <= _MOST_COMPARED else [name for name in names if name[:1] == word[:1]][:_MOST_COMPARED]
    close = difflib.get_close_matches(word, near, n=1, cutoff=0.6)
    if close:
        return f' (did you mean "{close[0]}"?)'
    return f" (known: {', '.join(names[:30])})" if names else ""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The known keys of one table; an absent one gives the default, a wrong one too, with a problem noted."""

    table: Table
    problems: Problems

    @property
    def place(self) -> Place:
        return self.table.place

    def node(self, key: str) -> Node | None:
        """The node under `key`."""
        return self.table.entries.get(key)

    def text(self, key: str, default: str = "") -> str:
        """One line of text."""
        node = self.node(key)
        return default if node is None else text_of(node, self.problems) or default

    def code(self, key: str) -> str:
        """A code of lower-case letters, digits and hyphens."""
        node = self.node(key)
        return "" if node is None else code_of(node, self.problems)

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """One of `known`."""
        node = self.node(key)
        return default if node is None else choice_of(node, known, self.problems) or default

    def texts(self, key: str) -> tuple[Text, ...]:
        """A text or a list of texts."""
        node = self.node(key)
        return () if node is None else texts_of(node, self.problems)

    def duration(self, key: str) -> Duration | None:
        """A duration such as `2 business days`."""
        node = self.node(key)
        return None if node is None else duration_of(node, self.problems)

    def number(self, key: str, default: int, *, least: int = 1, most: int = 100) -> int:
        """A whole number in a range."""
        node = self.node(key)
        if node is None:
            return default
        text = text_of(node, self.problems)
        if re.fullmatch(r"[0-9]{1,6}", text) and least <= int(text) <= most:
            return int(text)
        if text:
            self.problems.add(node.place, f'"{text}" is not a whole number from {least} to {most}')
        return default


def fields(node: Node, problems: Problems, required: Sequence[str], optional: Sequence[str] = ()) -> Fields | None:
    """`node` as a table with these keys and no others; None, with a problem noted, when it is not a table."""
    if not isinstance(node, Table):
        problems.add(node.place, f"must be a mapping with {', '.join(required) or ', '.join(optional)}")
        return None
    known = (*required, *optional)
    for key, place in node.keys.items():
        if key not in known:
            problems.add(place, f'unknown key "{key}"{suggestion(key, known)}')
    for key in required:
        if key not in node.entries:
            problems.add(node.place, f'"{key}" is missing')
    return Fields(table=node, problems=problems)


def items_of(node: Node | None, problems: Problems) -> tuple[Node, ...]:
    """The items of a list; absent gives none."""
    if node is None:
        return ()
    if not isinstance(node, Listing):
        problems.add(node.place, 'must be a list: start each entry with "- "')
        return ()
    return node.items


def text_of(node: Node, problems: Problems) -> str:
    """The text of a scalar, "" with a problem noted when it is empty or no scalar."""
    if not isinstance(node, Text):
        problems.add(node.place, "must be a text, not a list or mapping")
        return ""
    if not node.value.strip() or (not node.quoted and node.value in ("~", "null")):
        problems.add(node.place, "must not be empty")
        return ""
    if len(node.value) > 2000:
        problems.add(node.place, "longer than 2000 characters")
        return ""
    return node.value.strip()


def texts_of(node: Node, problems: Problems) -> tuple[Text, ...]:
    """A text, or a list of texts, as texts; what is neither is noted and left out."""
    nodes = node.items if isinstance(node, Listing) else (node,)
    return tuple(one for one in nodes if text_of(one, problems) and isinstance(one, Text))


def code_of(node: Node, problems: Problems) -> str:
    """A code: lower-case letters, digits and hyphens, at most 64; "" with a problem noted otherwise."""
    text = text_of(node, problems)
    if text and (len(text) > 64 or not CODE.fullmatch(text)):
        problems.add(node.place, f'"{text}" is not a code: use lower-case letters, digits and hyphens, a letter first')
        return ""
    return text


def duration_of(node: Node, problems: Problems) -> Duration | None:
    """A duration such as `2 business days`, None with a problem noted otherwise."""
    text = text_of(node, problems)
    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        problems.add(node.place, str(error))
        return None


def choice_of(node: Node, known: Iterable[str], problems: Problems, what: str = "") -> str:
    """A word out of `known`, "" with a problem noted otherwise."""
    text = text_of(node, problems)
    names = tuple(known)
    if text and text not in names:
        problems.add(node.place, f'unknown {what + " " if what else ""}"{text}"{suggestion(text, names)}')
        return ""
    return text


def _position(issue: Issue) -> tuple[int, int]:
    match = re.match(r"line (\d+), column (\d+)", issue.message)
    return (int(match[1]), int(match[2])) if match else (0, 0)


class _Refused(Exception):
    """Reading stops: the problem is already noted."""


class _Builder:
    """Turns the parser's events into nodes, counting nodes and depth as it goes."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._count = 0
        self._events: Iterator[yaml.Event] = iter(())

    def build(self, text: str) -> Node:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._next()
        first = self._next()
        if isinstance(first, yaml.StreamEndEvent):
            self._refuse(first, "the file is empty")
        root = self._node(self._next(), "", 0)
        self._next()
        second = self._next()
        if isinstance(second, yaml.DocumentStartEvent):
            self._refuse(second, "one file holds one program: a second document starts here")
        return root

    def _next(self) -> yaml.Event:
        return next(self._events)

    def _refuse(self, event: yaml.Event, message: str, path: str = "") -> NoReturn:
        self._problems.add(_place(event, path), message)
        raise _Refused

    def _node(self, event: yaml.Event, path: str, depth: int) -> Node:
        self._count += 1
        if self._count > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES} entries in one file", path)
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels", path)
        self._check_plain(event, path)
        if isinstance(event, yaml.ScalarEvent):
            self._check_characters(event, path)
            return Text(place=_place(event, path), value=event.value, quoted=event.style is not None)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._listing(event, path, depth)
        return self._table(event, path, depth)

    def _check_plain(self, event: yaml.Event, path: str) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "anchors and aliases are not allowed: write it out", path)
        if getattr(event, "tag", None) not in (None, "!"):
            self._refuse(event, f"tags such as {getattr(event, 'tag', '')} are not allowed", path)

    def _check_characters(self, event: yaml.ScalarEvent, path: str) -> None:
        if found := _NOT_TEXT.search(event.value):
            self._refuse(event, f"the character U+{ord(found[0]):04X} is not allowed in a text", path)

    def _listing(self, event: yaml.Event, path: str, depth: int) -> Listing:
        items: list[Node] = []
        inner = self._next()
        while not isinstance(inner, yaml.SequenceEndEvent):
            items.append(self._node(inner, f"{path}[{len(items)}]", depth + 1))
            inner = self._next()
        return Listing(place=_place(event, path), items=tuple(items))

    def _table(self, event: yaml.Event, path: str, depth: int) -> Table:
        entries: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        inner = self._next()
        while not isinstance(inner, yaml.MappingEndEvent):
            if not isinstance(inner, yaml.ScalarEvent):
                self._refuse(inner, "a key must be a plain word", path)
            self._check_plain(inner, path)
            self._check_characters(inner, path)
            key = str(getattr(inner, "value", ""))
            child = f"{path}.{key}" if path else key
            place = _place(inner, child)
            value = self._node(self._next(), child, depth + 1)
            if key in entries:
                self._problems.add(place, f'"{key}" is given twice (first on line {keys[key].line})')
            else:
                entries[key], keys[key] = value, place
            inner = self._next()
        return Table(place=_place(event, path), entries=entries, keys=keys)


def _place(event: yaml.Event, path: str) -> Place:
    mark = event.start_mark
    if mark is None:
        return Place(line=1, column=1, path=path)
    return Place(line=mark.line + 1, column=mark.column + 1, path=path)
