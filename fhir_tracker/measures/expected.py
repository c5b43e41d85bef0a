"""What rules find missing: documents, results, forms and notes, and which of them were filed where they do not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from fhir_tracker import dry_run, patient_history
from fhir_tracker.history_facts import Scene, scene
from fhir_tracker.misfiled import with_misfiled
from fhir_tracker.model.program import Condition, Match
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.patient_history import Point
from fhir_tracker.programs import all_programs
from fhir_tracker.rules.closing import FILED
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.documents import NEAR
from fhir_tracker.rules.match_words import describe_match
from fhir_tracker.storage import standing
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.standing import Moment, OpenCase

_BATCH = 50


def expecting_rules(tx: Tx) -> Mapping[tuple[str, str], str]:
    """(program, rule) -> what the rule finds missing, over all versions: a document's code, or the test of what is absent."""
    found: dict[tuple[str, str], str] = {}
    for one in reversed(all_programs(tx)):
        for rule in one.program.rules if one.program else ():
            if expected := _expected(rule.when):
                found[one.code, rule.id] = expected
    return found


def _expected(condition: Condition) -> str:
    """What the first part of a condition waits for that something filed would end; what is denied is not missing."""
    if condition.op == "not":
        return ""
    if condition.name == "document_missing":
        return str(condition.args.get("document", ""))
    if condition.name in ("absent", "monitoring_incomplete"):
        match = cast(Match, condition.args["match"])
        return describe_match(match) if match.type in FILED else ""
    return next((one for child in condition.children if (one := _expected(child))), "")


def misfiled(
    tx: Tx, viewer: Viewer, moment: Moment, rules: Sequence[tuple[str, str]], program: str | None = None
) -> Counter[tuple[str, str]]:
    """(program, rule) -> of how many open cases something that fits was filed where it does not count."""
    cases: dict[str, list[OpenCase]] = {}
    for one in standing.open_cases(tx, viewer, moment, rules, program):
        cases.setdefault(one.patient or "", []).append(one)
    counts: Counter[tuple[str, str]] = Counter()
    point = Point(start=moment.at, end=moment.at)
    for patients in slices(sorted(cases), _BATCH):
        for patient, history in patient_history.read(tx, viewer, patients, moment.at).items():
            then = scene(history, point, dry_run.in_force(tx))
            counts.update((one.program, one.rule) for one in cases[patient] if _is_near(tx, viewer, moment, then, one))
    return counts


def _is_near(tx: Tx, viewer: Viewer, moment: Moment, then: Scene, case: OpenCase) -> bool:
    program = then.programs.get(case.item)
    rule = next((one for one in program.rules if case.rule in (one.id, *one.was)), None) if program else None
    if program is None or rule is None:
        return False
    facts = with_misfiled(tx, viewer, then.facts(case.item, ()))
    facts = replace(facts, misfiled=tuple(one for one in facts.misfiled if one.seen_at <= moment.at))
    occurrence = case.cycle.partition(":")[2]
    found = judge(program, facts, rule.when, moment.at)
    return any(one.holds and one.occurrence == occurrence and NEAR in one.facts for one in found)
