"""The tracker's own systems, extensions and codes; the one place that spells them."""

from __future__ import annotations

import re
from typing import Final

from fhir_tracker.model.program import CANONICAL

ROLE_SYSTEM: Final = f"{CANONICAL}/CodeSystem/role"
WORK_SYSTEM: Final = f"{CANONICAL}/CodeSystem/work"
FLAG_SYSTEM: Final = f"{CANONICAL}/CodeSystem/flag"
OUTCOME_SYSTEM: Final = f"{CANONICAL}/CodeSystem/outreach-outcome"
CHANNEL_SYSTEM: Final = f"{CANONICAL}/CodeSystem/outreach-channel"
INPUT_SYSTEM: Final = f"{CANONICAL}/CodeSystem/task-input"

HOLD_UNTIL: Final = f"{CANONICAL}/StructureDefinition/hold-until"
HOLD_EVENT: Final = f"{CANONICAL}/StructureDefinition/hold-event"
SUSPENDED: Final = f"{CANONICAL}/StructureDefinition/suspended"
"""On a Task: it is on hold because the Task that it is part of is, and where it was before."""
PLAN_REASON: Final = f"{CANONICAL}/StructureDefinition/plan-reason"
"""On a CarePlan: why it is in its stage."""
PLAN_STAGE: Final = f"{CANONICAL}/StructureDefinition/plan-stage"
PLAN_ANCHOR: Final = f"{CANONICAL}/StructureDefinition/plan-anchor"
KEY_SYSTEM: Final = f"{CANONICAL}/identifier/instantiation"
GOAL_SYSTEM: Final = f"{CANONICAL}/identifier/goal"
"""Of a Goal, and of a plan's reference to it: the program's own code."""
ACTIVITY_SYSTEM: Final = f"{CANONICAL}/identifier/activity"
"""Of a Task: the intervention of its CarePlan that it stands for."""
TEAM_PRIMARY: Final = f"{CANONICAL}/CodeSystem/team"
"""Of a participant's role in a care team: `primary` is who gives work its owner."""
SITE: Final = f"{CANONICAL}/StructureDefinition/site"
"""On a CarePlan or Task: the site, by its code in the program or as a Location, whose calendar counts."""
PLAN_TRIGGER: Final = f"{CANONICAL}/StructureDefinition/plan-trigger"
TIME_SPENT: Final = f"{CANONICAL}/StructureDefinition/time-spent"
"""On a Communication: the period that staff spent on it."""
CONTACT_USED: Final = f"{CANONICAL}/StructureDefinition/contact-used"
"""On a Communication: the number or address that was tried."""
OUT_OF_HOURS: Final = f"{CANONICAL}/StructureDefinition/outside-policy"
"""On a Communication: why the program's outreach policy would not have had this attempt made."""
FLAG_CAUSE: Final = f"{CANONICAL}/StructureDefinition/flag-cause"
"""On a Flag: a rule it stands for, as `program#rule`."""
BY_HAND: Final = "by hand"
"""The first cause of a Flag that a person put up and a rule would have, too."""
CODE_SENT: Final = f"{CANONICAL}/StructureDefinition/code-sent"
"""On a primitive: the code that an EHR sent in its place."""
MAPPED_CODE: Final = f"{CANONICAL}/StructureDefinition/mapped-code"
"""On a Coding: it was added here, by the code table that is named."""
UNMAPPED_CODE: Final = f"{CANONICAL}/StructureDefinition/unmapped-code"
"""On a Coding: the code table that is named does not know it."""

ESCALATION: Final = "escalation"

CHANNELS: Final = {
    "phone": "Phone",
    "sms": "Text message",
    "email": "Email",
    "letter": "Letter",
    "portal": "Portal message",
}
OUTCOMES: Final = {
    "reached": "Reached",
    "left-message": "Left a message",
    "no-answer": "No answer",
    "wrong-number": "Wrong number",
    "declined": "Declined",
    "bounced": "Bounced",
}
EXCEPTIONS: Final = {
    "unreachable": "Cannot be reached",
    "missing-labs": "Lab results are missing",
    "prior-auth-pending": "Prior authorisation pending",
    "prior-auth-denied": "Prior authorisation denied",
    "contraindication": "Contraindication found",
    "reschedule": "Wants another appointment",
    "no-show": "Did not come to an appointment",
    "monitoring-incomplete": "Home monitoring is incomplete",
    "deceased": "Has died",
    "moved": "Has moved away",
    "merged": "Record merged into another",
    "in-hospital": "Is in hospital",
    "withdrawn": "Has withdrawn",
}
"""What a plan can run into, by the code that rules and people flag it with (a Flag coded in FLAG_SYSTEM)."""
EXCEPTION_MEANS: Final = {
    "unreachable": "All ways to reach the patient were tried, as often as the program asks, and none led to them",
    "missing-labs": "A result that the plan needs was ordered and has not come in its time",
    "prior-auth-pending": "The payer was asked to authorise a service and has not answered yet",
    "prior-auth-denied": "The payer has refused to authorise a service",
    "contraindication": "Something was found that speaks against what the plan intends",
    "reschedule": "The patient, or the practice, needs another time for an appointment",
    "no-show": "The patient did not come to an appointment and did not cancel it",
    "monitoring-incomplete": "Fewer readings came from home than the plan asks for",
    "deceased": "The patient is known to have died",
    "moved": "The patient lives elsewhere now and cannot be cared for from here",
    "merged": "This record was joined with another one of the same person, which counts from now on",
    "in-hospital": "The patient is an inpatient; clocks of the plan stand still where its program says so",
    "withdrawn": "The patient does not want to take part any more",
}
"""What each of EXCEPTIONS means, shown wherever it is chosen."""
CLOSED_TASK: Final = frozenset({"completed", "cancelled", "failed", "rejected", "entered-in-error"})


_CANONICAL: Final = re.compile(
    rf"{re.escape(CANONICAL)}/(?:PlanDefinition/(?P<plan>[a-z0-9-]+)|ActivityDefinition/(?P<activity>[a-z0-9-]+)\.[A-Za-z0-9.-]+)(?:\|(?P<version>[0-9]{{1,9}}))?"
)


def program_named(canonical: str) -> tuple[str, int | None] | None:
    """The program code and version (None: the active one) that a PlanDefinition or ActivityDefinition canonical names."""
    match = _CANONICAL.fullmatch(canonical)
    if match is None:
        return None
    return match["plan"] or match["activity"], int(match["version"]) if match["version"] else None


def program_task_system(program: str) -> str:
    """The CodeSystem of a program's task codes."""
    return f"{CANONICAL}/CodeSystem/{program}-task"


def activity_canonical(program: str, template: str, version: int) -> str:
    """The ActivityDefinition `url|version` of one task template."""
    return f"{CANONICAL}/ActivityDefinition/{program}.{template}|{version}"
