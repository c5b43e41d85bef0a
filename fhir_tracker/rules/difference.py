"""What differs between two versions of a program, in plain words: complete, for whoever has to approve it.

Every field of a program is compared, those that are added to it later too; only its number and warnings are not content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from datetime import date, time
from typing import Any, Final, Literal

from fhir_tracker.model.program import Action, Condition, Duration, Match, Program, Rule
from fhir_tracker.rules.action_words import describe_action
from fhir_tracker.rules.durations import DAYS
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.rules.renaming import renamed_from
from fhir_tracker.rules.summary import describe

Kind = Literal["added", "removed", "changed", "order", "renamed"]
_NOT_CONTENT: Final = ("version", "warnings", "former", "renamed")
_ONE: Final = {"moves": "transition", "statuses": "status", "stage_moves": "stage transition", "do": "what it does"}
_KEYS: Final = ("code", "id", "number", "role")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it was: `section` of the program, `name` of the entry, its `field`, both values in words."""

    kind: Kind
    section: str
    name: str = ""
    field: str = ""
    before: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """The difference as one sentence."""
        what = f"{_one(self.section)} {self.name}".strip() if self.name else _words(self.section)
        if self.kind == "added":
            return f"{what} is new: {self.after}"
        if self.kind == "removed":
            return f"{what} is gone: {self.before}"
        if self.kind == "renamed":
            return f"{what} is {self.before} renamed: its cases go on under the new name"
        if self.kind == "order":
            return f"the order of {_words(self.section)} changes from {self.before} to {self.after}"
        named = f"{what}: {_words(self.field)}" if self.field else what
        return f"{named} changes from {self.before} to {self.after}"

    def as_json(self) -> dict[str, str]:
        """The difference as plain JSON values."""
        return {**asdict(self), "text": self.text}


def differences(old: Program, new: Program) -> tuple[Difference, ...]:
    """Every difference in content; empty only for programs that say the same."""
    names = (one.name for one in fields(Program) if one.name not in _NOT_CONTENT)
    called = renamed_from(new.rules, (old.rules,)) | dict(new.renamed)
    renamed = {one.id: called[one.id] for one in old.rules if one.id in called}
    told = [Difference(kind="renamed", section="rules", name=now, before=was) for was, now in renamed.items()]
    old = replace(old, rules=tuple(_as_now(one, renamed, new) for one in old.rules))
    found = (one for name in names for one in _section(name, getattr(old, name), getattr(new, name)))
    return (*told, *found)


def _as_now(rule: Rule, renamed: Mapping[str, str], new: Program) -> Rule:
    """A rule under its new name; that it says what it was called is part of the renaming, and no other difference."""
    name = renamed.get(rule.id)
    now = next((one for one in new.rules if one.id == name), None)
    if name is None or now is None:
        return rule
    told = now.was if {*now.was} == {*rule.was, rule.id} else rule.was
    return replace(rule, id=name, was=told)


def _section(section: str, old: Any, new: Any) -> Iterator[Difference]:
    if old == new:
        return
    if _is_listing(old) and _is_listing(new) and (old or new):
        yield from _listing(section, _keyed(old), _keyed(new))
    elif is_dataclass(old) and is_dataclass(new) and type(old) is type(new):
        yield from _fields(section, "", old, new)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _listing(section, {str(one): old[one] for one in old}, {str(one): new[one] for one in new})
    else:
        before, after = _both("", old, new)
        yield Difference(kind="changed", section=section, before=before, after=after)


def _is_listing(value: object) -> bool:
    return isinstance(value, tuple) and all(is_dataclass(one) for one in value)


def _listing(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for key in (*old, *(one for one in new if one not in old)):
        if key not in new:
            yield Difference(kind="removed", section=section, name=key, before=_said(old[key]))
        elif key not in old:
            yield Difference(kind="added", section=section, name=key, after=_said(new[key]))
        elif old[key] != new[key]:
            yield from _entry(section, key, old[key], new[key])
    before, after = [key for key in old if key in new], [key for key in new if key in old]
    if before != after:
        yield Difference(kind="order", section=section, before=", ".join(before), after=", ".join(after))


def _entry(section: str, key: str, old: Any, new: Any) -> Iterator[Difference]:
    if is_dataclass(old) and type(old) is type(new):
        yield from _fields(section, key, old, new)
    else:
        before, after = _both("", old, new)
        yield Difference(kind="changed", section=section, name=key, before=before, after=after)


def _fields(section: str, name: str, old: Any, new: Any) -> Iterator[Difference]:
    for one in fields(old):
        was, is_ = getattr(old, one.name), getattr(new, one.name)
        if was != is_:
            before, after = _both(one.name, was, is_)
            yield Difference(kind="changed", section=section, name=name, field=one.name, before=before, after=after)


def _keyed(entries: tuple[Any, ...]) -> dict[str, Any]:
    """The entries by what they are called; the second of one name is `name (2)`."""
    found: dict[str, Any] = {}
    for one in entries:
        name = _name(one)
        count = 1
        key = name
        while key in found:
            count += 1
            key = f"{name} ({count})"
        found[key] = one
    return found


def _name(entry: Any) -> str:
    if hasattr(entry, "sources") and hasattr(entry, "to"):
        return f"{', '.join(entry.sources)} -> {entry.to}"
    own = next((getattr(entry, key) for key in _KEYS if getattr(entry, key, None) not in (None, "")), None)
    return str(own) if own is not None else _said(entry)


def _both(field: str, old: Any, new: Any) -> tuple[str, str]:
    """Both values in words, or exactly where the words are the same."""
    before, after = _said(old, field), _said(new, field)
    return (before, after) if before != after else (_exactly(old), _exactly(new))


def _said(value: Any, field: str = "") -> str:
    match value:
        case None | "" | ():
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case Condition():
            return describe(value)
        case Match():
            return describe_match(value)
        case Action():
            return describe_action(value)
        case Duration() | date():
            return str(value)
        case time():
            return f"{value:%H:%M}"
        case str():
            return f'"{value}"' if " " in value else value
        case tuple():
            return _spans(value) or "; ".join(_said(one) for one in value)
        case Mapping():
            return "; ".join(f"{_key(key, field)} {_said(one)}" for key, one in value.items()) or "nothing"
    return _parts(value) if is_dataclass(value) else str(value)


def _spans(value: tuple[Any, ...]) -> str:
    """`08:00-17:00` for opening and closing."""
    return "-".join(f"{one:%H:%M}" for one in value) if all(isinstance(one, time) for one in value) else ""


def _key(key: Any, field: str) -> str:
    return DAYS[key] if field == "hours" and isinstance(key, int) else str(key)


def _parts(value: Any) -> str:
    found = ((one.name, getattr(value, one.name)) for one in fields(value))
    told = [f"{_words(name)} {_said(part, name)}" for name, part in found if part not in (None, "", (), False, {})]
    return ", ".join(told) or "nothing"


def _exactly(value: Any) -> str:
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(plain, default=_plain, ensure_ascii=False, sort_keys=False)


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _one(section: str) -> str:
    return _ONE.get(section) or _words(section.removesuffix("s"))


def _words(name: str) -> str:
    return {"do": "what it does", "when": "its condition"}.get(name) or name.replace("_", " ")
