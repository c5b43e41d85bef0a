"""Random program files that are valid: any number of statuses, work, rules and ladders, with titles of any letters."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from fhir_tracker.model.viewer import ROLES

TITLES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30)
"""Words of one piece, markup, quotes, emoji and all: what stands in a title must never break a document."""
CALENDAR_UNITS = ("minutes", "hours", "days", "weeks")
WORKING_UNITS = ("business hours", "business days")
DURATIONS = st.builds("{} {}".format, st.integers(1, 60), st.sampled_from(CALENDAR_UNITS + WORKING_UNITS))
PERIODS = st.sampled_from(["1 week", "2 weeks", "1 month", "3 months"])
PRIORITIES = st.sampled_from(["routine", "urgent", "asap", "stat"])
SOME_ROLES = st.lists(st.sampled_from(ROLES), unique=True, max_size=3)
OPTIONAL: dict[str, dict[str, Any]] = {
    "doing": {"is": "in-progress"},
    "asked": {"is": "received"},
    "held": {"is": "on-hold", "hold": {"until": "required"}},
    "lost": {"is": "failed"},
    "dropped": {"is": "cancelled"},
}
CLOSED = ("done", "lost", "dropped")
ELIGIBLE: tuple[dict[str, Any] | None, ...] = (
    None,
    {"any": [{"Encounter": {"status": "finished", "class": "IMP"}}]},
    {"any": [{"Encounter": {"status": "finished", "class": "IMP", "within": "30 days"}}]},
    {"all": [{"Condition": {"status": "active"}}, {"not": {"Flag": "declined"}}]},
    {"once": "patient", "any": [{"Flag": "high-risk"}, {"Encounter": {"status": "finished", "class": "EMER"}}]},
)


@st.composite
def statuses(draw: st.DrawFn) -> list[dict[str, Any]]:
    """`todo` and `done`, and any of the others between."""
    chosen = draw(st.lists(st.sampled_from(sorted(OPTIONAL)), unique=True))
    rows = [{"code": "todo", "is": "requested"}, {"code": "done", "is": "completed"}]
    rows += [{"code": code, **OPTIONAL[code]} for code in chosen]
    return [row | {"title": draw(TITLES), "means": draw(TITLES)} for row in rows]


@st.composite
def transitions(draw: st.DrawFn, codes: list[str]) -> list[dict[str, Any]]:
    """Every open status leads to every other; a hold asks for its end, the rest for anything."""
    still_open = [code for code in codes if code not in CLOSED]
    found = []
    for code in codes:
        require = draw(st.lists(st.sampled_from(["note", "reason", "owner", "due"]), unique=True, max_size=2))
        required = sorted({*require, *(["hold.until", "reason"] if code == "held" else [])})
        sources = [one for one in still_open if one != code]
        if sources:
            found.append({"from": sources, "to": code, "by": draw(SOME_ROLES), "require": required})
    return [{name: value for name, value in row.items() if value} for row in found]


@st.composite
def tasks(draw: st.DrawFn, anchors: list[str]) -> list[dict[str, Any]]:
    """One to five kinds of work: with the plan, by rule or again and again."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        row: dict[str, Any] = {"code": f"work-{number}", "role": draw(st.sampled_from(ROLES)), "title": draw(TITLES)}
        row |= draw(st.sampled_from([{}, {"what": "What to do"}, {"priority": "urgent"}]))
        row["on"] = draw(st.sampled_from(["enrolment", "rule", "cadence"])) if number else "enrolment"
        if row["on"] == "cadence":
            row["every"] = draw(PERIODS)
        elif draw(st.booleans()):
            row["due"] = {"after": draw(st.sampled_from(anchors)), "within": draw(DURATIONS)}
        found.append(row)
    return found


@st.composite
def rules(draw: st.DrawFn, work: list[str]) -> list[dict[str, Any]]:
    """Rules about the work there is, each with one thing to do."""
    tests = (
        {"overdue_by": "0 hours"},
        {"overdue_by": "2 days"},
        {"unassigned_for": "4 hours"},
        {"in_status_for": {"for": "3 days"}},
    )
    found = []
    for number in range(draw(st.integers(0, 4))):
        when = {"all": [{"task": draw(st.sampled_from(work))}, draw(st.sampled_from(tests))]}
        do = draw(st.sampled_from([{"escalate": "late"}, {"raise_flag": "late-work"}, {"set_priority": "urgent"}]))
        found.append({"id": f"rule-{number}", "title": draw(TITLES), "when": when, "do": do})
    return found


@st.composite
def ladders(draw: st.DrawFn) -> dict[str, Any]:
    """The ladder `late` of one to four levels."""
    levels: list[dict[str, Any]] = [{"to": f"role/{draw(st.sampled_from(ROLES))}"}]
    for _ in range(draw(st.integers(0, 3))):
        step: dict[str, Any] = {"to": f"role/{draw(st.sampled_from(ROLES))}", "after": draw(DURATIONS)}
        levels.append(step | draw(st.sampled_from([{}, {"notify": ["email"]}, {"priority": "urgent"}])))
    return {"late": {"levels": levels}}


@st.composite
def program_files(draw: st.DrawFn, code: str = "made") -> str:
    """The text of one valid program file, as the JSON that YAML is too."""
    eligible = draw(st.sampled_from(ELIGIBLE))
    anchors = ["enrolment", "created", *(["discharge"] if "Encounter" in str(eligible) else [])]
    statuses_ = draw(statuses())
    work = draw(tasks(anchors))
    whole: dict[str, Any] = {"program": code, "title": draw(TITLES), "description": draw(TITLES)}
    whole |= {"eligible": eligible} if eligible else {}
    whole |= {
        "statuses": statuses_,
        "transitions": draw(transitions([row["code"] for row in statuses_])),
        "tasks": work,
    }
    found = draw(rules([row["code"] for row in work]))
    whole |= {"rules": found} if found else {}
    if any("escalate" in row["do"] for row in found):
        whole["ladders"] = draw(ladders())
    return json.dumps(whole, ensure_ascii=False, indent=1)
