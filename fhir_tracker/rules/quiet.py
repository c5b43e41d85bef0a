"""Quiet hours: whether a moment lies in them, and when they are over, on the wall clock of one zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from fhir_tracker.model.program import OutreachPolicy, Program, Quiet
from fhir_tracker.rules.calendar import zone_of
from fhir_tracker.rules.durations import DAYS

_MOST_DAYS: Final = 10


def zone_for(program: Program, quiet: Quiet, patient_zone: str | None) -> str:
    """The zone whose clock counts: the patient's where it is known and asked for, else the site's."""
    return patient_zone if quiet.zone == "patient" and patient_zone else program.calendar.zone


def quiet_at(quiet: Quiet, zone: str, moment: datetime) -> str:
    """Why it is quiet at that moment, such as `Sun 21:30, quiet from 20:00 to 08:00`; "" when it is not."""
    here = moment.astimezone(zone_of(zone))
    said = f"{DAYS[here.weekday()]} {here:%H:%M} in {zone}"
    if here.weekday() in quiet.days:
        return f"{said}, quiet all {DAYS[here.weekday()]}"
    if quiet.starts is None or quiet.ends is None:
        return ""
    clock = here.time().replace(tzinfo=None)
    over_midnight = quiet.starts > quiet.ends
    inside = clock >= quiet.starts or clock < quiet.ends if over_midnight else quiet.starts <= clock < quiet.ends
    return f"{said}, quiet from {quiet.starts:%H:%M} to {quiet.ends:%H:%M}" if inside else ""


def quiet_until(quiet: Quiet, zone: str, moment: datetime) -> datetime:
    """The first moment from `moment` on that is not quiet; `moment` itself where all that follows for days is."""
    if not quiet_at(quiet, zone, moment):
        return moment
    day = moment.astimezone(zone_of(zone)).date()
    found = [
        start
        for ahead in range(_MOST_DAYS)
        for start in _starts(quiet, zone, day + timedelta(days=ahead))
        if start > moment and not quiet_at(quiet, zone, start)
    ]
    return min(found, default=moment)


def is_quiet_for(policy: OutreachPolicy, channel: str) -> Quiet | None:
    """The quiet hours that a channel has under the policy."""
    return policy.quiet if policy.quiet and channel in policy.quiet.channels else None


def _starts(quiet: Quiet, zone: str, day: date) -> list[datetime]:
    """The instants of a local day at which quiet can end: its beginning and its `ends`."""
    place = zone_of(zone)
    walls = [datetime.combine(day, datetime.min.time())]
    if quiet.ends is not None:
        walls.append(datetime.combine(day, quiet.ends))
    found = []
    for wall in walls:
        for fold in (0, 1):
            instant = wall.replace(tzinfo=place, fold=fold).astimezone(UTC)
            found.append(instant)
    return found
