"""What each measure is, in words and codes: the one definition that docs/metrics.md, Measure resources and reports share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fhir_tracker.errors import NotFound
from fhir_tracker.model.program import CANONICAL

Unit = Literal["count", "hours", "percent"]
AS_OF_STANDING = (
    "Work counts as it stood, as was recorded by then; what was changed, closed or deleted later stands as before."
)
AS_OF_FLOW = "What was recorded by then counts, in the period of its recording; it never changes afterwards."
AS_OF_ATTEMPTS = (
    "Attempts count as they were known then, in the period in which they were made; one written down late or corrected "
    "later changes the period it belongs to."
)
NOT_OUTSIDE = "An EHR's own Tasks."


@dataclass(frozen=True, kw_only=True)
class Value:
    """One number of a row."""

    name: str
    unit: Unit
    means: str


@dataclass(frozen=True, kw_only=True)
class Key:
    """One thing that a measure counts by."""

    name: str
    means: str


@dataclass(frozen=True, kw_only=True)
class Measure:
    """`of` says whether it looks at a moment or at a period; `main` is the value that a report is read for.

    `rate` names the two values whose share `main` is.
    """

    name: str
    title: str
    of: Literal["moment", "period"]
    population: str
    exclusions: str
    as_of: str
    keys: tuple[Key, ...]
    values: tuple[Value, ...]
    main: str
    rate: tuple[str, str] | None = None
    better: Literal["increase", "decrease"] = "decrease"

    @property
    def canonical(self) -> str:
        """Its Measure's url."""
        return f"{CANONICAL}/Measure/{self.name}"

    def value(self, name: str) -> Value:
        """The value of that name."""
        return next(one for one in self.values if one.name == name)


_PROGRAM = Key(name="program", means="the program's code, empty outside programs")
_CODE = Key(name="task", means="the kind of work: Task.code")
_HOURS = (
    Value(name="median_hours", unit="hours", means="half took no longer (nearest rank)"),
    Value(name="p90_hours", unit="hours", means="nine of ten took no longer (nearest rank)"),
    Value(name="longest_hours", unit="hours", means="the longest"),
)
_COUNT = Value(name="count", unit="count", means="how many")
_ATTEMPTS = (
    Value(name="attempts", unit="count", means="tries to reach a patient"),
    Value(name="contacts", unit="count", means="of these, with the outcome reached"),
    Value(name="contact_rate", unit="percent", means="contacts of attempts"),
)
_ALL = (
    Measure(
        name="aging",
        title="Aging",
        of="moment",
        population="Open work and plans, by the time since they got their present status or stage (effective time).",
        exclusions=NOT_OUTSIDE,
        as_of=AS_OF_STANDING,
        keys=(
            Key(name="kind", means="task, escalation or plan"),
            _PROGRAM,
            Key(name="status", means="the status, or the stage of a plan"),
        ),
        values=(_COUNT, *_HOURS),
        main="median_hours",
    ),
    Measure(
        name="overdue",
        title="Overdue work",
        of="moment",
        population="Open work whose clock runs and whose due time is past, by the time since it was due.",
        exclusions=f"{NOT_OUTSIDE} Plans; work on hold.",
        as_of=AS_OF_STANDING,
        keys=(Key(name="owner", means="who has it"), Key(name="role", means="whose queue it is of"), _PROGRAM),
        values=(_COUNT, *_HOURS),
        main="count",
    ),
    Measure(
        name="holds",
        title="Work on hold",
        of="moment",
        population="Open tasks in a status that pauses their clock, by the time since they entered it.",
        exclusions=f"{NOT_OUTSIDE} Plans on hold, which aging tells.",
        as_of=AS_OF_STANDING,
        keys=(_PROGRAM, Key(name="status", means="the status of the hold")),
        values=(
            _COUNT,
            Value(name="without_end", unit="count", means="with neither a time nor an event that ends it"),
            Value(name="past_end", unit="count", means="whose end is past"),
            *_HOURS,
        ),
        main="count",
    ),
    Measure(
        name="holds-ended",
        title="Holds that ended",
        of="period",
        population="Stays of tasks in a status that pauses their clock which ended in the period, also by closing.",
        exclusions=f"{NOT_OUTSIDE} Plans.",
        as_of=AS_OF_FLOW,
        keys=(_PROGRAM, Key(name="status", means="the status of the hold")),
        values=(_COUNT, Value(name="mean_hours", unit="hours", means="the mean length"), *_HOURS),
        main="median_hours",
    ),
    Measure(
        name="waiting-for-contact",
        title="Patients nobody has reached yet",
        of="moment",
        population="Open plans about whose tasks no attempt has the outcome reached, by the time since they began.",
        exclusions="Plans of the EHR.",
        as_of=AS_OF_STANDING,
        keys=(_PROGRAM,),
        values=(_COUNT, *_HOURS),
        main="count",
    ),
    Measure(
        name="first-contact",
        title="Time to first contact",
        of="period",
        population="Plans whose first attempt with the outcome reached was made in the period, by the time from the "
        "plan's beginning to it; calendar hours, begun hours not counted.",
        exclusions="Plans without any contact, which waiting-for-contact tells; plans of the EHR.",
        as_of=AS_OF_ATTEMPTS,
        keys=(_PROGRAM,),
        values=(_COUNT, Value(name="mean_hours", unit="hours", means="the mean"), *_HOURS),
        main="median_hours",
    ),
    Measure(
        name="escalations",
        title="Escalations",
        of="period",
        population="Levels of escalation ladders that fired in the period; each fires once.",
        exclusions="Other effects of rules.",
        as_of=AS_OF_FLOW,
        keys=(
            _PROGRAM,
            Key(name="reason", means="the rule that fired, which is the coded reason"),
            Key(name="level", means="the step of the ladder"),
            Key(name="role", means="to whom it went"),
        ),
        values=(_COUNT,),
        main="count",
    ),
    Measure(
        name="escalations-by-hour",
        title="Escalations by hour of the day",
        of="period",
        population="Levels of escalation ladders that fired in the period, by the hour in their program's zone.",
        exclusions="Other effects of rules.",
        as_of=AS_OF_FLOW,
        keys=(_PROGRAM, Key(name="hour", means="0 to 23 in the program's time zone, the practice's outside programs")),
        values=(_COUNT,),
        main="count",
    ),
    Measure(
        name="clinical-interrupts",
        title="Clinical interrupts",
        of="period",
        population="Escalations of the period that went to a clinical role: any role but front-desk, care-coordinator, "
        "clinic-admin and billing.",
        exclusions="Escalations to other roles.",
        as_of=AS_OF_FLOW,
        keys=(
            _PROGRAM,
            Key(name="reason", means="the rule that fired, which is the coded reason"),
            Key(name="role", means="whose work was interrupted"),
        ),
        values=(_COUNT,),
        main="count",
    ),
    Measure(
        name="outreach",
        title="Outreach",
        of="period",
        population="Attempts to reach a patient about the tracker's own work that were made in the period.",
        exclusions="Communications that are neither completed nor not-done, entered in error or deleted.",
        as_of=AS_OF_ATTEMPTS,
        keys=(_PROGRAM, Key(name="channel", means="phone, sms, email, letter, portal or other")),
        values=_ATTEMPTS,
        main="contact_rate",
        rate=("contacts", "attempts"),
        better="increase",
    ),
    Measure(
        name="outreach-by-hour",
        title="Outreach by hour of the day",
        of="period",
        population="As outreach, by the hour in their program's zone at which the attempt was made.",
        exclusions="As outreach.",
        as_of=AS_OF_ATTEMPTS,
        keys=(_PROGRAM, Key(name="hour", means="0 to 23 in the program's time zone, the practice's outside programs")),
        values=_ATTEMPTS,
        main="contact_rate",
        rate=("contacts", "attempts"),
        better="increase",
    ),
    Measure(
        name="throughput",
        title="Plans enrolled, completed and stopped",
        of="period",
        population="Plans that began or ended in the period. Completed: CarePlan.status completed; stopped: any other "
        "end. A plan reopened and ended again counts again.",
        exclusions="Plans deleted or entered in error; plans of the EHR.",
        as_of=AS_OF_FLOW,
        keys=(
            _PROGRAM,
            Key(name="outcome", means="enrolled, completed or stopped"),
            Key(name="stage", means="the stage it ended in"),
            Key(name="reason", means="the coded reason, empty where none was chosen"),
        ),
        values=(_COUNT,),
        main="count",
        better="increase",
    ),
    Measure(
        name="closed-work",
        title="Tasks closed",
        of="period",
        population="Tasks closed in the period, by the status they were closed with.",
        exclusions=f"{NOT_OUTSIDE} Escalations; tasks deleted or entered in error.",
        as_of=AS_OF_FLOW,
        keys=(
            _PROGRAM,
            _CODE,
            Key(name="status", means="the status it was closed with"),
            Key(name="reason", means="the coded reason, empty where none was chosen"),
        ),
        values=(_COUNT,),
        main="count",
        better="increase",
    ),
    Measure(
        name="on-time",
        title="On-time rate",
        of="period",
        population="Tasks completed in the period that had a due time; on time when the completion's effective time is "
        "not after the due time they had then.",
        exclusions=f"{NOT_OUTSIDE} Escalations; tasks that failed, were cancelled or rejected; tasks without a due time "
        "(counted apart). What is late and open still is in overdue.",
        as_of=AS_OF_FLOW,
        keys=(_PROGRAM, _CODE),
        values=(
            Value(name="completed", unit="count", means="completed with a due time"),
            Value(name="on_time", unit="count", means="of these, in time"),
            Value(name="on_time_rate", unit="percent", means="on time of completed"),
            Value(name="without_due", unit="count", means="completed without a due time"),
            Value(name="mean_hours", unit="hours", means="the mean time from making to completion, of all completed"),
        ),
        main="on_time_rate",
        rate=("on_time", "completed"),
        better="increase",
    ),
    Measure(
        name="handoffs",
        title="Handoffs",
        of="period",
        population="Changes of owner or role of open work in the period. Taking work from a queue is none.",
        exclusions=f"{NOT_OUTSIDE} Plans; changes that closed the work.",
        as_of=AS_OF_FLOW,
        keys=(
            _PROGRAM,
            _CODE,
            Key(name="change", means="role: to another role; owner: to another owner; returned: back to its queue"),
        ),
        values=(_COUNT,),
        main="count",
    ),
    Measure(
        name="reopened",
        title="Reopen rate",
        of="period",
        population="Closed tasks that were opened again in the period, of those closed in the period.",
        exclusions=f"{NOT_OUTSIDE} Escalations; deleted tasks that came back.",
        as_of=AS_OF_FLOW,
        keys=(_PROGRAM, _CODE),
        values=(
            Value(name="closed", unit="count", means="tasks closed, as closed-work counts them"),
            Value(name="reopened", unit="count", means="tasks opened again"),
            Value(name="reopen_rate", unit="percent", means="reopened of closed; above 100 where more was reopened"),
        ),
        main="reopen_rate",
        rate=("reopened", "closed"),
    ),
    Measure(
        name="missing-documents",
        title="Missing documentation",
        of="period",
        population="Cases in which a rule found an expected document, result, form or note missing: document_missing, and "
        "absent and monitoring_incomplete of DiagnosticReport, DocumentReference, Observation or QuestionnaireResponse. "
        "Found: those that came up in the period; open: those whose work or escalation is open at its end, whenever they "
        "came up; misfiled: of the open ones, those for which something that fits was filed where it does not count.",
        exclusions="What is expected and not late; rules that only raise a flag or notify are never open; what is found "
        "missing by a denied test (not). What was filed in another patient's record is looked for as that record is today.",
        as_of=AS_OF_STANDING,
        keys=(
            _PROGRAM,
            Key(name="document", means="the program's code of the document, or the test of what is absent"),
            Key(name="rule", means="the rule that found it missing"),
        ),
        values=(
            Value(name="found", unit="count", means="cases that came up in the period"),
            Value(name="open", unit="count", means="cases open at its end"),
            Value(name="misfiled", unit="count", means="of these, filed where it does not count"),
            *_HOURS,
        ),
        main="open",
    ),
    Measure(
        name="queue-hygiene",
        title="Queue hygiene",
        of="moment",
        population="Open tasks that are not in order, by finding: no-owner (nobody owns it), no-due (no due time), "
        "endless-hold (on hold until nothing), closed-plan (its plan is closed or deleted), inactive-owner (its owner's "
        "Practitioner or PractitionerRole is inactive or deleted), duplicate (an older open task has the same patient, "
        "plan, code, due time and focus). A task can be in several.",
        exclusions=f"{NOT_OUTSIDE} Escalations and plans.",
        as_of=AS_OF_STANDING,
        keys=(Key(name="finding", means="what is not in order"), _PROGRAM, Key(name="role", means="whose queue")),
        values=(_COUNT,),
        main="count",
    ),
)
MEASURES: Mapping[str, Measure] = {one.name: one for one in _ALL}
NOT_CLINICAL = frozenset({"front-desk", "care-coordinator", "clinic-admin", "billing", ""})


def measure_named(name: str) -> Measure:
    """The measure of that name; raises NotFound with the names there are."""
    if name not in MEASURES:
        raise NotFound(f"There is no measure {name[:40]!r}; there are {', '.join(MEASURES)}.")
    return MEASURES[name]
