"""What every predicate is: how its argument is read from a program file, how it is judged, how it is said in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from fhir_tracker.model.event import BY_RULES
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import Duration, Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.source import Node

Args = Mapping[str, object]
Subject = Literal["task", "plan"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One open item at one moment, under its program."""

    program: Program
    facts: Facts
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """One word of `when`.

    `read` turns what stands after the word into arguments, None with a problem noted; `judge` answers for an open item:
    one Verdict for each occurrence that holds, or exactly one that does not hold. `subjects` says what it can look at.
    """

    name: str
    takes: str
    says: str
    subjects: tuple[Subject, ...]
    read: Callable[[Node, Draft], Args | None]
    judge: Callable[[Case, Args], tuple[Verdict, ...]]
    describe: Callable[[Args], str]


def duration(args: Args, name: str) -> Duration:
    """The Duration among the arguments."""
    return cast(Duration, args[name])


def words(args: Args, name: str) -> tuple[str, ...]:
    """The list of texts among the arguments; absent is empty."""
    return cast("tuple[str, ...]", args.get(name, ()))


def word(args: Args, name: str) -> str:
    """The text among the arguments; absent is empty."""
    return str(args.get(name, ""))


def number(args: Args, name: str) -> int:
    """The whole number among the arguments."""
    return cast(int, args[name])


def earliest(now: datetime, moments: Iterable[datetime | None]) -> datetime | None:
    """The first of `moments` after `now`."""
    return min((one for one in moments if one is not None and one > now), default=None)


def begin(facts: Facts) -> datetime:
    """From when on events can concern this work: the earliest moment its plan knows, else its own start."""
    if facts.plan is None:
        return facts.item.created_at
    return min((facts.plan.started, *facts.plan.anchors.values()))


def no(why: str, facts: Mapping[str, str] | None = None, next_change: datetime | None = None) -> tuple[Verdict, ...]:
    """The answer that it does not hold."""
    return (Verdict(holds=False, why=why, facts=facts or {}, next_change=next_change),)


def listed_facts(events: Iterable[Event]) -> str:
    """The references of some events, for `Verdict.facts`; `none` for none."""
    return ", ".join(one.ref for one in events) or "none"


def first_known(event: Event) -> datetime:
    """When an event began to be a fact: its time, or when it was heard of if that was sooner."""
    return min(event.seen_at, event.began)


def known_now(events: Iterable[Event], now: datetime) -> tuple[Event, ...]:
    """The events that are about a time up to `now`; one dated ahead counts from its date on."""
    return tuple(one for one in events if one.began <= now)


def flags_up(facts: Facts, codes: Iterable[str], now: datetime) -> tuple[Event, ...]:
    """The patient's active Flags with one of these codes (`system|code`) that have not ended at `now`."""
    wanted = frozenset(codes)
    flags = facts.by_type.get("Flag", ())
    return tuple(
        one for one in flags if one.status == "active" and wanted.intersection(one.codes) and not _is_over(one, now)
    )


def marks_up(facts: Facts, codes: tuple[str, ...], now: datetime) -> tuple[Event, ...]:
    """As `flags_up`, those that somebody put up by hand: what a rule puts up says nothing that the record does not say."""
    return tuple(one for one in flags_up(facts, codes, now) if one.detail.get("raised") != BY_RULES)


def _is_over(event: Event, now: datetime) -> bool:
    return event.end is not None and event.end <= now
