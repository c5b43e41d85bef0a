"""Reads `outreach` of a task, or of the whole program as the default of its tasks: how often, how, and when not."""

from __future__ import annotations

import re
from datetime import time
from typing import Final, Literal, cast

from fhir_tracker.model.program import OutreachPolicy, Quiet
from fhir_tracker.model.vocabulary import CHANNELS
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.durations import DAYS
from fhir_tracker.rules.source import Fields, Node, Table, Text, fields, text_of

KEYS: Final = ("attempts", "over", "channels", "on_channels", "spacing", "quiet", "outside")
OUTSIDE: Final = ("allow", "warn", "refuse")
ZONES: Final = ("patient", "site")
_CLOCK: Final = re.compile(r"[0-2][0-9]:[0-5][0-9]")


def default_outreach(node: Node | None, draft: Draft) -> Table | None:
    """The program's own `outreach`, whose keys hold where a task leaves them out; noted when it is no table."""
    if node is None:
        return None
    given = fields(node, draft.problems, (), KEYS)
    if given is None:
        return None
    if given.node("attempts") and given.node("over"):
        _policy(given, draft)
    return given.table


def read_outreach(node: Node | None, default: Table | None, draft: Draft) -> OutreachPolicy | None:
    """A task's policy: its own keys, `true` for the program's as it is; None when the task has none."""
    if node is None:
        return None
    if isinstance(node, Text):
        if node.value not in ("true", "yes") or default is None:
            draft.problems.add(node.place, 'write a policy, or "true" where the program has an outreach of its own')
            return None
        return _whole(Fields(table=default, problems=draft.problems), draft)
    given = fields(node, draft.problems, (), KEYS)
    if given is None:
        return None
    if default is None:
        return _whole(given, draft)
    merged = Table(
        place=given.place,
        entries={**default.entries, **given.table.entries},
        keys={**default.keys, **given.table.keys},
    )
    return _whole(Fields(table=merged, problems=draft.problems), draft)


def _whole(given: Fields, draft: Draft) -> OutreachPolicy | None:
    for key in ("attempts", "over"):
        if given.node(key) is None:
            draft.problems.add(given.place, f'"{key}" is missing')
    return _policy(given, draft)


def _policy(given: Fields, draft: Draft) -> OutreachPolicy | None:
    channels = tuple(draft.reference(text, "channel", tuple(CHANNELS)) for text in given.texts("channels"))
    channels = tuple(dict.fromkeys(channels)) or tuple(CHANNELS)
    attempts, over = given.number("attempts", 1), given.duration("over")
    on_channels = given.number("on_channels", 1, most=len(CHANNELS))
    place = given.table.keys.get("on_channels", given.place)
    if on_channels > len(channels):
        draft.problems.add(place, f"{on_channels} channels are asked for, and {len(channels)} may be used")
    if on_channels > attempts:
        draft.problems.add(place, f"{on_channels} channels cannot be tried in {attempts} attempts")
    quiet = given.node("quiet")
    outside = given.choice("outside", OUTSIDE, "warn")
    if over is None:
        return None
    return OutreachPolicy(
        attempts=attempts,
        over=over,
        channels=channels,
        on_channels=on_channels,
        spacing=given.duration("spacing"),
        quiet=_quiet(quiet, draft) if quiet else None,
        outside=cast(Literal["allow", "warn", "refuse"], outside),
    )


def _quiet(node: Node, draft: Draft) -> Quiet | None:
    given = fields(node, draft.problems, (), ("from", "to", "days", "zone", "channels"))
    if given is None:
        return None
    starts, ends = _clock(given, "from", draft), _clock(given, "to", draft)
    if (given.node("from") is None) != (given.node("to") is None):
        draft.problems.add(given.place, 'quiet hours need both "from" and "to", such as 20:00 and 08:00')
    elif given.node("from") is None and given.node("days") is None:
        draft.problems.add(given.place, 'say when it is quiet: "from" and "to", or "days"')
    elif starts is not None and starts == ends:
        draft.problems.add(given.place, "quiet hours that end when they begin would be the whole day")
    days = tuple(draft.reference(text, "day", DAYS) for text in given.texts("days"))
    if len(set(days)) == len(DAYS):
        draft.problems.add(given.place, "every day is quiet: nobody could ever be tried")
    channels = tuple(draft.reference(text, "channel", tuple(CHANNELS)) for text in given.texts("channels"))
    return Quiet(
        starts=starts,
        ends=ends,
        days=tuple(sorted({DAYS.index(day) for day in days if day})),
        zone=cast(Literal["patient", "site"], given.choice("zone", ZONES, "patient")),
        channels=channels or ("phone", "sms"),
    )


def _clock(given: Fields, key: str, draft: Draft) -> time | None:
    node = given.node(key)
    text = text_of(node, draft.problems) if node else ""
    if node is None or not text:
        return None
    hour = int(text[:2]) if _CLOCK.fullmatch(text) else 99
    if hour > 24 or (hour == 24 and text != "24:00"):
        draft.problems.add(node.place, f'"{text}" is not a time of day: write "20:00"')
        return None
    return time(hour % 24, int(text[3:]))


def policy_words(policy: OutreachPolicy) -> str:
    """The policy for people who approve it: `3 attempts over 5 business days on 2 of phone, sms`."""
    count = f"{policy.attempts} attempt{'' if policy.attempts == 1 else 's'} over {policy.over}"
    parts = [count]
    if policy.on_channels > 1 or len(policy.channels) < len(CHANNELS):
        parts.append(f"on {policy.on_channels} of {', '.join(policy.channels)}")
    if policy.spacing:
        parts.append(f"at least {policy.spacing} apart")
    if policy.quiet:
        parts.append(f"never {_quiet_words(policy.quiet)} ({policy.outside})")
    return " ".join(parts)


def _quiet_words(quiet: Quiet) -> str:
    hours = f"{quiet.starts:%H:%M} to {quiet.ends:%H:%M}" if quiet.starts is not None and quiet.ends is not None else ""
    days = ", ".join(DAYS[day] for day in quiet.days)
    when = " or ".join(part for part in (hours, f"on {days}" if days else "") if part)
    return f"by {' or '.join(quiet.channels)} {when} where the {quiet.zone} is"
