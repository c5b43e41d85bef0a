"""Where outreach stands under its policy: what was tried, by which channel next, from when on, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from fhir_tracker.model.contact import Contact
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Calendar, Duration, OutreachPolicy, Program
from fhir_tracker.model.vocabulary import CHANNELS
from fhir_tracker.model.work import Event
from fhir_tracker.rules.calendar import END, START, later
from fhir_tracker.rules.events import in_order
from fhir_tracker.rules.outreach_failed import REACHED, attempts, failed_since_reached
from fhir_tracker.rules.quiet import is_quiet_for, quiet_at, quiet_until, zone_for
from fhir_tracker.rules.sla import other_pauses, paused_by
from fhir_tracker.rules.words import moment

TRIES: Final[Mapping[str, str]] = {
    "phone": "call",
    "sms": "text",
    "email": "email",
    "letter": "letter",
    "portal": "portal message",
}
REFUSALS: Final[Mapping[str, tuple[str, ...]]] = {
    "phone": ("do-not-call", "no-phone", "no-calls"),
    "sms": ("do-not-text", "no-text", "no-sms", "opt-out-of-text", "text-opt-out", "sms-opt-out"),
    "email": ("do-not-email", "no-email", "email-opt-out"),
    "letter": ("do-not-mail", "no-letter", "no-mail"),
    "portal": ("do-not-message", "no-portal", "portal-opt-out"),
}
"""The codes of a Flag or a denying Consent by which a patient does not want a channel; `do-not-contact` is all of them."""
ALL: Final = ("do-not-contact", "no-contact")
_AT_ONCE: Final = Duration(amount=0, unit="hours", working=True)
_EDGE: Final = timedelta(days=2)
"""How near to either end of the calendar no quiet hour is looked for."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One policy's account: tries since the patient was last reached, and the next; `next_at` None when none is wanted.

    `closed_to` says of each channel that cannot be used why; `settled` says why nobody is to be tried again.
    """

    policy: OutreachPolicy
    attempts: int
    channels: tuple[str, ...]
    first_at: datetime | None = None
    enough_at: datetime | None = None
    next_channel: str = ""
    next_number: str = ""
    next_at: datetime | None = None
    closed_to: Mapping[str, str] = field(default_factory=dict)
    settled: str = ""

    @property
    def is_used_up(self) -> bool:
        """Whether the tries and the channels are as many as the policy asks."""
        return self.attempts >= self.policy.attempts and len(self.channels) >= self.policy.on_channels


def standing(program: Program, facts: Facts) -> Standing | None:
    """The account of a task that has a policy, else None. It depends on facts alone, not on the time it is asked at."""
    template = program.task(facts.item.code)
    if facts.item.kind != "task" or template is None or template.outreach is None:
        return None
    policy = template.outreach
    failed = failed_since_reached(facts)
    used = tuple(dict.fromkeys(channel for one in failed if (channel := one.detail.get("channel", ""))))
    base = Standing(policy=policy, attempts=len(failed), channels=used)
    if failed:
        first = failed[0].began
        base = replace(base, first_at=first, enough_at=later(_calendar(program, facts), first, policy.over))
    pauses = other_pauses(program, facts)
    if settled := _settled(facts, base) or next((f"no tries {why}" for _, end, why in pauses if end is None), ""):
        return replace(base, settled=settled)
    resumes = max((end for _, end, _ in pauses if end is not None), default=START)
    return _with_next(program, facts, base, failed, resumes)


def refused_channels(events: Sequence[Event], at: datetime) -> dict[str, str]:
    """The channels that the patient does not want at that moment, by active flags and denying consents, each with why."""
    found: dict[str, str] = {}
    for one in in_order(events):
        words = _refusing_words(one, at)
        for channel, codes in REFUSALS.items():
            if words.intersection((*codes, *ALL)):
                found.setdefault(channel, f"the patient does not want it ({one.ref})")
    return found


def spoilt_numbers(events: Sequence[Event], contact: Contact) -> Mapping[str, str]:
    """Numbers and addresses that were found wrong or bounced, each with the attempt that found it.

    An attempt that does not say what it tried spoils the preferred one of its channel, until the record changes.
    """
    found: dict[str, str] = {}
    for one in in_order(events):
        if one.type != "Communication" or one.status not in ("completed", "not-done"):
            continue
        tried, outcome, channel = (
            one.detail.get("contact", ""),
            one.detail.get("outcome"),
            one.detail.get("channel", ""),
        )
        at = one.began
        if outcome == REACHED and tried:
            found.pop(plain(tried), None)
        if outcome not in ("wrong-number", "bounced"):
            continue
        if not tried and (contact.as_of is None or contact.as_of <= at):
            tried = next((each for each in contact.numbers(channel, at) if plain(each) not in found), "")
        if tried:
            found[plain(tried)] = one.ref
    return found


def plain(number: str) -> str:
    """A number without what people write between its digits; an address in lower case."""
    digits = "".join(letter for letter in number if letter.isdigit() or letter == "+")
    return number.casefold() if "@" in number or len(digits) < 5 else digits.removeprefix("+1").removeprefix("+")


def best_number(contact: Contact | None, events: Sequence[Event], channel: str, at: datetime) -> str:
    """The number or address to try on a channel: the preferred one that was not found wrong; "" when there is none."""
    if contact is None:
        return ""
    spoilt = spoilt_numbers(events, contact)
    return next((one for one in contact.numbers(channel, at) if plain(one) not in spoilt), "")


def objection(program: Program, policy: OutreachPolicy, facts: Facts, channel: str, at: datetime) -> str:
    """Why the policy would not have this attempt made: quiet hours, a pause of the clock such as a hospital stay, or a
    channel that is not wanted; "" for nothing.
    """
    if policy.outside == "allow":
        return ""
    if why := refused_channels(facts.events, at).get(channel):
        return f"{CHANNELS.get(channel, channel)}: {why}"
    if why := paused_by(program, facts, at):
        return f"{CHANNELS.get(channel, channel)} {why}"
    quiet = is_quiet_for(policy, channel)
    why = quiet_at(quiet, zone_for(program, quiet, facts.zone), at) if quiet else ""
    return f"{CHANNELS.get(channel, channel)} at a quiet time: {why}" if why else ""


def standing_words(program: Program, found: Standing) -> str:
    """`2 of 3 attempts, 1 of 2 channels; next call from Tue 10 Mar 2026 09:00`."""
    policy = found.policy
    parts = [f"{found.attempts} of {policy.attempts} attempts"]
    if policy.on_channels > 1:
        parts.append(f"{len(found.channels)} of {policy.on_channels} channels")
    told = ", ".join(parts)
    if found.settled:
        return f"{told}; {found.settled}"
    if found.next_at is not None:
        named = TRIES.get(found.next_channel, found.next_channel)
        return f"{told}; next {named} from {moment(program.calendar, found.next_at)}"
    return f"{told}; {_why_none(found)}"


def _why_none(found: Standing) -> str:
    closed = "; ".join(f"{CHANNELS.get(one, one)}: {why}" for one, why in found.closed_to.items())
    return f"no channel is left ({closed})" if closed else "no channel is left"


def _settled(facts: Facts, base: Standing) -> str:
    tries = attempts(facts)
    last = tries[-1] if tries else None
    outcome = last.detail.get("outcome") if last else None
    if not facts.item.open:
        return "the work is closed"
    if facts.deceased:
        return "the patient has died"
    if facts.item.clock == "paused":
        return "the work is on hold"
    if outcome == REACHED:
        return "the patient was reached"
    if outcome == "declined":
        return "the patient declined"
    return "the policy is used up" if base.is_used_up else ""


def _with_next(program: Program, facts: Facts, base: Standing, failed: Sequence[Event], resumes: datetime) -> Standing:
    """`resumes` is when the clock last ran on after a pause: nothing is due before."""
    policy = base.policy
    earliest = max(facts.item.created_at, resumes)
    if failed:
        last = failed[-1].began
        earliest = max(earliest, later(_calendar(program, facts), last, policy.spacing) if policy.spacing else last)
    closed = _closed_channels(facts, policy, earliest)
    open_ = [one for one in policy.channels if one not in closed]
    if not open_:
        return replace(base, closed_to=closed)
    channel = _choose(facts, base, open_, failed, earliest)
    return replace(
        base,
        closed_to=closed,
        next_channel=channel,
        next_number=best_number(facts.contact, facts.events, channel, earliest),
        next_at=_allowed(program, facts, policy, channel, earliest),
    )


def _closed_channels(facts: Facts, policy: OutreachPolicy, at: datetime) -> dict[str, str]:
    closed = {one: why for one, why in refused_channels(facts.events, at).items() if one in policy.channels}
    if facts.contact is None:
        return closed
    for channel in policy.channels:
        if channel in closed or channel == "portal":
            continue
        if channel == "letter":
            if not facts.contact.postal:
                closed[channel] = "the record has no postal address"
            continue
        known = facts.contact.numbers(channel, at)
        if not known:
            closed[channel] = "the record has no usable number or address"
        elif not best_number(facts.contact, facts.events, channel, at):
            closed[channel] = "each number or address was found wrong"
    return closed


def _choose(facts: Facts, base: Standing, open_: Sequence[str], failed: Sequence[Event], at: datetime) -> str:
    """The channel the patient prefers, in the policy's order; a new one when the policy would else run out of tries."""
    policy, contact = base.policy, facts.contact
    missing = policy.on_channels - len(base.channels)
    fresh = [one for one in open_ if one not in base.channels]
    pool = fresh if fresh and missing > 0 and policy.attempts - base.attempts <= missing else list(open_)
    ranked = sorted(pool, key=lambda one: contact.rank(one, at) if contact else 0)
    return ranked[0] if ranked else ""


def _allowed(program: Program, facts: Facts, policy: OutreachPolicy, channel: str, earliest: datetime) -> datetime:
    """The first moment from `earliest` on at which the site works and it is not quiet for the channel."""
    quiet = is_quiet_for(policy, channel)
    zone = zone_for(program, quiet, facts.zone) if quiet else ""
    found = earliest
    for _ in range(40):
        opens = later(_calendar(program, facts), found, _AT_ONCE)
        if not START + _EDGE < opens < END - _EDGE:
            return opens
        ends = quiet_until(quiet, zone, opens) if quiet else opens
        if ends == found:
            return found
        found = ends
    return found


def _calendar(program: Program, facts: Facts) -> Calendar:
    return program.calendar.of(*facts.places)


def _refusing_words(event: Event, at: datetime) -> set[str]:
    is_flag = event.type == "Flag" and event.status == "active"
    is_consent = event.type == "Consent" and event.status == "active" and event.detail.get("provision") == "deny"
    if not (is_flag or is_consent) or (event.end is not None and event.end < at):
        return set()
    return {code.rpartition("|")[2] for code in event.codes} | set(event.detail.get("denies", "").split())
