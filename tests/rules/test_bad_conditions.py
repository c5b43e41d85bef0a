"""Every word of every test that is written wrongly is told with its line, its column and what would be right."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import Incorrect
from tests.rules.samples import with_rule

WRONG = [
    ("{seen: {Encounters: {class: EMER}}}", 'unknown resource type "Encounters" (did you mean "Encounter"?)'),
    ("{seen: Encounter}", "must name one resource type"),
    ("{seen: {times: 2}}", "must name one resource type and may add times, after, each"),
    ("{seen: {Encounter: {clas: EMER}}}", 'unknown key "clas" (did you mean "class"?)'),
    ("{seen: {Encounter: {class: EMER}, times: 0}}", '"0" is not a whole number from 1 to 100'),
    ("{seen: {Encounter: {class: EMER}, times: 2, each: true}}", '"each" makes every one a case'),
    (
        "{seen: {Encounter: {class: EMER}, after: discharged}}",
        'unknown moment "discharged" (did you mean "discharge"?)',
    ),
    ("{seen: {Encounter: {class: EMER, above: 3}}}", '"above" is asked of an Observation'),
    ("{seen: {Observation: {code: x, above: high}}}", '"high" is not a value'),
    ("{seen: {Observation: {code: x, above: 3, at_least: 4}}}", 'give one of "at_least" and "above"'),
    ("{seen: {Observation: {code: x, component: y}}}", "says nothing of its value"),
    ("{absent: {expect: {Observation: {code: x}}, within: 2 days}}", '"after" is missing'),
    ("{absent: {expect: {Observation: {code: x}}, after: sometime, within: 2 days}}", 'unknown moment "sometime"'),
    (
        "{absent: {expect: {Observation: {code: x, within: 1 day}}, after: created, within: 2 days}}",
        'write "within" and',
    ),
    ("{absent: {expect: {Obs: {code: x}}, after: created, within: 2 days}}", 'unknown resource type "Obs"'),
    ("{absent: {expect: {Observation: {code: x}}, after: created, within: soon}}", '"soon" is not a duration'),
    (
        "{absent: {expect: {Observation: {code: x}}, after: created, within: 1 day, service: visit}}",
        "a service belongs",
    ),
    ("{observation: {above: 3}}", '"code" is missing: say which Observation'),
    ("{observation: {code: x}}", "says nothing of the value"),
    ("{observation: {code: x, above: 3, of: last}}", 'unknown "last"'),
    ("{observation: {code: x, above: 3, of: any}}", '"of: any" needs "within"'),
    ("{observation: {code: x, outcome: reached, above: 3}}", 'unknown key "outcome"'),
    ("{monitoring_incomplete: {Observation: {code: x}, every: 7 days}}", '"at_least" is missing'),
    (
        "{monitoring_incomplete: {Observation: {code: x}, at_least: 2, every: 3 business days}}",
        "windows are of calendar",
    ),
    ("{monitoring_incomplete: {Flag: x, at_least: 2, every: 3 days}}", 'unknown resource type "Flag"'),
    ("{monitoring_incomplete: {Observation: {code: x, within: 1 day}, at_least: 2, every: 3 days}}", "leave"),
    ("{appointment: {state: book}}", 'unknown "book" (did you mean "booked"?)'),
    ("{appointment: {state: booked, ahead: 1 day, within: 1 day}}", 'give "ahead" or "within"'),
    ("{appointment: {state: booked, ahead: 0 days}}", '"ahead" needs more than nothing'),
    ("{appointment: {state: booked, service: visits}}", 'unknown service "visits"'),
    ("{no_show_chain: {service: visit}}", '"times" is missing'),
    ("{patient: dead}", 'unknown state "dead"'),
    ("{exception: noshow}", 'unknown exception "noshow" (did you mean "no-show"?)'),
    ("{in_hospital: yes}", 'unknown answer "yes"'),
    ("{in_hospital: {long: 2 days}}", 'unknown key "long"'),
    ("{authorization: rejected}", 'unknown answer "rejected"'),
    ("{authorization: {for: 2 days}}", '"is" is missing'),
    ("{owner: gone}", 'unknown state "gone"'),
    ("{hold: {reason: waiting}}", 'unknown reason "waiting"'),
    ("{hold: {without_end: true, ends_within: 1 day}}", 'a hold "without_end" ends at no time'),
    ("{hold: maybe}", 'unknown "maybe"'),
    ("{reason: waiting}", 'unknown reason "waiting"'),
    ("{untouched_for: a while}", '"a while" is not a duration'),
    ("{handed_over: {within: 2 days}}", '"times" is missing'),
    ("{escalated: {level: x}}", '"x" is not a whole number'),
    ("{outreach: {outcome: answered}}", 'unknown outcome "answered"'),
    ("{outreach: {channel: fax}}", 'unknown channel "fax"'),
    ("{plan_for: {after: created, for: 1 day}}", 'unknown moment "created"'),
    ("{open_work: {task: visits}}", 'unknown task "visits" (did you mean "visit"?)'),
    ("{open_work: {at_least: 3, at_most: 1}}", "at least 3 and at most 1 cannot be"),
]


@pytest.mark.parametrize(("when", "said"), WRONG, ids=range(len(WRONG)))
def test_a_word_that_is_wrong_is_told_with_its_place(when: str, said: str) -> None:
    with pytest.raises(Incorrect) as caught:
        with_rule(when)
    told = [one.message for one in caught.value.issues]
    assert any(said in one and one.startswith("line ") and ", column " in one for one in told), told


@pytest.mark.parametrize(
    ("name", "inner"), [("untouched_for", "1 day"), ("handed_over", "{times: 2}"), ("owner", "none"), ("hold", "true")]
)
def test_what_looks_at_a_task_is_no_test_of_a_plan(name: str, inner: str) -> None:
    with pytest.raises(Incorrect, match="1 problem"):
        with_rule(f"{{{name}: {inner}}}", subject="plan")
