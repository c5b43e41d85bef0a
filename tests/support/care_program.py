"""A program whose work starts after other work, recurs ahead, serves goals and belongs to a care team."""

from __future__ import annotations

CARE = """
program: care
title: Chronic care
calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}
goals:
  - {code: hba1c, title: HbA1c under control, target: {measure: "http://loinc.org|4548-4", at_most: 8 %, within: 90 days}}
  - {code: steps, title: Walks every day}
team:
  - {role: rn, title: Nurse}
  - {role: care-coordinator, title: Coordinator, primary: true}
statuses:
  - {code: todo, is: requested, means: "Nobody has begun"}
  - {code: doing, is: in-progress, means: "Begun"}
  - {code: done, is: completed, means: "Done"}
  - {code: dropped, is: cancelled, means: "Not wanted any more"}
transitions:
  - {from: [todo], to: doing}
  - {from: [todo, doing], to: done}
  - {from: [done], to: doing}
  - {from: [todo, doing], to: dropped, require: [reason]}
tasks:
  - {code: assess, role: rn, due: {after: enrolment, within: 2 days}, goal: hba1c, owner: team}
  - {code: labs, role: rn, due: {after: enrolment, within: 3 days}, part_of: assess}
  - {code: plan-talk, role: provider, starts: {after: [assess, labs], in: [done]}, due: {after: created, within: 1 business day}}
  - {code: letter, role: front-desk, starts: {after: plan-talk}, owner: primary}
  - {code: weekly, role: rn, every: 1 week, zone: patient, horizon: 20 days, due: {after: created, within: 2 days}}
"""
