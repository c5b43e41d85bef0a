"""F13: a worker that is killed amid what a rule does, whatever it is, leaves nothing of it; the next one does it once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fhir_tracker import enrolment
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.rules.action_section import ACTIONS
from fhir_tracker.storage.database import Database
from subscriptions.deliver import LEASE
from tests.subscriptions.mail_server import Mailbox, serving
from tests.subscriptions.test_deliver import PUBLIC, SECRET, tell
from tests.support.clinic import MONDAY, NURSE, RING, Clinic
from tests.support.crowd import ROOT
from tests.support.receivers import Hook

HOUR = timedelta(hours=1)
DO = {
    "create_task": "follow-up",
    "raise_flag": "high-risk",
    "clear_flag": "no-show",
    "set_status": "doing",
    "set_priority": "urgent",
    "notify": "role/rn",
    "return_to_queue": "true",
    "reassign": "role/provider",
    "hold": "{for: 30 days}",
    "escalate": "help",
    "enrol": "ring",
    "set_stage": "second",
    "close_tasks": "{status: dropped, tasks: [closes-tasks]}",
    "disenrol": "gone",
}
"""One thing for each action there is, in the order in which they come due, an hour apart."""
KINDS = {kind: number + 1 for number, kind in enumerate(DO)}
OF_PLANS = ("enrol", "set_stage", "close_tasks", "disenrol")


def program() -> str:
    lines = ["program: everything", "tasks:"]
    own = [kind for kind in DO if kind not in OF_PLANS]
    lines += [f"  - {{code: {_code(kind)}, role: rn, due: {{after: enrolment, within: 0 days}}}}" for kind in own]
    lines += ["  - {code: closes-tasks, role: rn}", "  - {code: follow-up, role: rn, on: rule}", "statuses:"]
    for code, fhir in (("to-do", "requested"), ("doing", "in-progress"), ("held", "on-hold"), ("done", "completed")):
        lines.append(f"  - {{code: {code}, is: {fhir}, means: x}}")
    lines += [
        "  - {code: dropped, is: cancelled, means: x}",
        "transitions: [{from: any, to: doing}, {from: any, to: held}",
    ]
    lines[-1] += ", {from: any, to: done}, {from: any, to: dropped}]"
    lines += ["stages: [{code: first, is: active}, {code: second, is: active}, {code: gone, is: revoked}]"]
    lines += ["ladders: {help: {levels: [{to: role/provider}]}}", "rules:"]
    for kind, what in DO.items():
        when = f"{{all: [{{task: {_code(kind)}}}, {{overdue_by: {KINDS[kind]} hours}}]}}"
        if kind in OF_PLANS:
            when = f"{{plan_for: {KINDS[kind]} hours}}"
        subject = "plan" if kind in OF_PLANS else "task"
        lines.append(f"  - {{id: {_code(kind)}, subject: {subject}, when: {when}, do: {{{kind}: {what}}}}}")
    return "\n".join(lines)


def _code(kind: str) -> str:
    return f"it-{kind.replace('_', '-')}"


def flag(code: str) -> dict[str, object]:
    coding = {"system": FLAG_SYSTEM, "code": code}
    subject = {"reference": "Patient/ann"}
    return {"resourceType": "Flag", "id": code, "status": "active", "code": {"coding": [coding]}, "subject": subject}


def begun(database: Database) -> Clinic:
    """A patient in a program that does everything there is; one of her tasks has an owner, and she has a flag."""
    clinic = Clinic(database, program())
    clinic.publish(RING, MONDAY)
    clinic.patient("ann")
    clinic.put(flag("no-show"), MONDAY)
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        enrolment.by_hand(tx, clinic.program, "ann", by)
    owned = clinic.task("ann", _code("return_to_queue")).ref
    clinic.put(clinic.resource(owned) | {"owner": {"reference": NURSE.who}}, MONDAY, NURSE)
    return clinic


def story(clinic: Clinic) -> tuple[object, ...]:
    """What was done, without ids and times: work as it stands, firings, messages, flags, acts."""
    items = clinic.items("ann")
    rows = sorted(
        (one.kind, one.code or "", one.program or "", one.status, one.priority, one.role or "", one.owner or "")
        for one in items
    )
    fired = Counter(
        (one.key.rule, one.key.level, one.key.cycle, one.kind, one.state)
        for item in items
        for one in clinic.firings(item.ref)
    )
    told = Counter((one.to_role, one.channel, one.text) for item in items for one in clinic.notified(item.ref))
    moved = Counter(
        (item.code, row.what, row.before, row.after, row.rule)
        for item in items
        for row in clinic.log(item.ref)
        if row.what != "owner"
    )
    flags = sorted((one["code"]["coding"][0]["code"], one["status"]) for one in clinic.stored("Flag"))
    return rows, fired, told, moved, flags, len(clinic.stored("Provenance"))


def run(module: str, url: str, at: datetime, failpoint: str = "", **settings: str) -> int:
    """A process from its beginning to its end, which is a kill at `failpoint` where one is named."""
    environment = {**os.environ, "FHIR_TRACKER_FAILPOINT": failpoint}
    environment |= {f"FHIR_TRACKER_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.support.{module}", url, at.isoformat()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def test_every_action_of_a_rule_is_tried() -> None:
    assert set(DO) == set(ACTIONS)


@pytest.mark.fault("F13")
def test_a_worker_killed_amid_each_kind_of_effect_leaves_each_done_once(
    database: Database, ready_url: str, prepared_file: Path, tmp_path: Path
) -> None:
    clinic = begun(database)
    path = tmp_path / "untouched.db"
    path.write_bytes(prepared_file.read_bytes())
    with closing(Database.open(f"sqlite:///{path}")) as other:
        untouched = begun(other)
        for kind, hour in KINDS.items():
            at = MONDAY + hour * HOUR
            assert run("sweeper", ready_url, at, f"effect-{kind.replace('_', '-')}") == -signal.SIGKILL, kind
            before, after_lease = story(clinic), at + HOUR / 2
            assert clinic.sweep(at).applied == 0, "what the killed one had in hand is still its own"
            assert story(clinic) == before
            clinic.sweep(after_lease)
            untouched.sweep(after_lease)
            assert story(clinic) == story(untouched), kind
        end = MONDAY + (len(KINDS) + 1) * HOUR
        assert story(clinic) == story(untouched)
        assert clinic.sweep(end).applied == 0
    done = {one.kind for item in clinic.items("ann") for one in clinic.firings(item.ref) if one.state != "skipped"}
    assert {kind.replace("_", "-") for kind in DO} <= done


@pytest.mark.fault("F13")
def test_a_process_killed_between_calling_a_webhook_and_noting_it_calls_again_under_the_same_id(
    database: Database, ready_url: str
) -> None:
    tell(database, "Task/a", MONDAY, channel="webhook")
    hook = Hook()
    try:
        settings = {"NOTIFY_WEBHOOK": f"provider={hook.address}", "WEBHOOK_SECRET": SECRET, "PUBLIC_URL": PUBLIC}
        assert run("deliverer", ready_url, MONDAY, "notification-sent", **settings) == -signal.SIGKILL
        assert run("deliverer", ready_url, MONDAY + LEASE / 2, **settings) == 0
        assert len(hook.calls) == 1, "somebody may still be at it"
        assert run("deliverer", ready_url, MONDAY + 2 * LEASE, **settings) == 0
        assert run("deliverer", ready_url, MONDAY + 4 * LEASE, **settings) == 0
        assert len({headers["webhook-id"] for headers, _ in hook.calls}) == 1
        assert len({body for _, body in hook.calls}) == 1
        assert len(hook.calls) == 2
    finally:
        hook.close()


@pytest.mark.fault("F13")
def test_a_process_killed_between_mailing_and_noting_it_mails_again_under_the_same_id(
    database: Database, ready_url: str
) -> None:
    tell(database, "Task/a", MONDAY)
    mailbox = Mailbox()
    with serving(mailbox) as smtp:
        settings = {"SMTP_URL": smtp, "SMTP_FROM": "t@clinic.example", "NOTIFY_MAIL": "provider=d@clinic.example"}
        settings |= {"PUBLIC_URL": PUBLIC}
        at = MONDAY + LEASE
        assert run("deliverer", ready_url, at, "notification-sent", **settings) == -signal.SIGKILL
        for number in (2, 4):
            assert run("deliverer", ready_url, at + number * LEASE, **settings) == 0
    assert len(mailbox.mails) == 2
    assert len({str(one["Message-ID"]) for one in mailbox.mails}) == 1
