"""Notifications leave the application by mail and webhook: gathered, without patient data, tried again, dead, or done."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fhir_tracker import clock, staff, staffing
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import audit, dispatches, notifications
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.dispatches import Dispatch
from subscriptions import deliver, deliver_due, mail, told, webhooks
from tests.subscriptions.mail_server import Mailbox, serving
from tests.support.clinic import MONDAY, Clinic
from tests.support.receivers import Hook
from tests.test_staffing import practitioner, role

SECRET = "whsec_" + "QUFB" * 8
MINUTE = timedelta(minutes=1)
LATE = MONDAY + timedelta(days=2, minutes=1)
SECOND_LEVEL = LATE + timedelta(hours=4)
PUBLIC = "https://tracker.example.org"


def settings(**given: str) -> Settings:
    """Settings of a clinic whose providers have one address."""
    base = {"HOME": "/h", "FHIR_TRACKER_PUBLIC_URL": PUBLIC, "FHIR_TRACKER_SMTP_FROM": "tracker@clinic.example"}
    return load_settings(base | {f"FHIR_TRACKER_{name}": text for name, text in given.items()})


def mailing(smtp: str, mails: str = "provider=doctors@clinic.example") -> Settings:
    return settings(SMTP_URL=smtp, NOTIFY_MAIL=mails)


def tell(database: Database, subject: str, at: datetime, *, to: str = "provider", channel: str = "email") -> int:
    """Write one notification, as a ladder does."""
    with database.begin() as tx:
        given: dict[str, Any] = {"to_role": to, "to_person": None}
        if "/" in to:
            given = {"to_role": None, "to_person": to}
        return notifications.add(
            tx, **given, channel=channel, subject=subject, patient="ann", text="Zebulon Quark is late", at=at
        )


def at(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def run(database: Database, given: Settings, moment: datetime, chance: float = 0.0) -> dict[str, int]:
    return dict(deliver_due(database, given, at(moment), lambda: chance).counts)


def left(database: Database) -> list[Dispatch]:
    with database.read() as tx:
        return dispatches.left(tx)


def late_clinic(database: Database) -> Clinic:
    """A clinic in which two patients' first calls are so late that providers are mailed."""
    clinic = Clinic(database)
    for name in ("zebulon", "quark"):
        clinic.patient(name)
        clinic.discharge(name, MONDAY)
    clinic.sweep(LATE)
    clinic.sweep(SECOND_LEVEL)
    return clinic


@pytest.mark.security("L4")
def test_mail_of_one_role_within_a_minute_is_one_and_names_no_patient(
    database: Database, mailbox: Mailbox, smtp: str
) -> None:
    clinic = late_clinic(database)
    given = mailing(smtp)
    assert run(database, given, SECOND_LEVEL + timedelta(seconds=59)) == {}
    assert run(database, given, SECOND_LEVEL + MINUTE) == {"sent": 1}
    assert run(database, given, SECOND_LEVEL + 10 * MINUTE) == {}
    (message,) = mailbox.mails
    assert mailbox.recipients == ["doctors@clinic.example"]
    assert message["Subject"] == "2 pieces of work for provider"
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert rich is not None
    texts = (plain.get_content(), rich.get_content())
    tasks = [one.ref.partition("/")[2] for name in ("zebulon", "quark") for one in clinic.escalations(name)[1:]]
    for text in texts:
        assert "Escalation" in text
        assert all(f"{PUBLIC}/tasks/{id_}" in text for id_ in tasks)
        assert not any(word in text.lower() for word in ("zebulon", "quark", "synthetic", "first call"))
    assert "zebulon" not in message.as_string().lower()


@pytest.mark.security("L4")
def test_the_kinds_of_work_are_words_of_the_program_and_never_of_a_resource(
    database: Database, mailbox: Mailbox, smtp: str
) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    named = {"resourceType": "Task", "id": "odd", "status": "requested", "intent": "order"}
    clinic.put(named | {"code": {"text": "Call Zebulon Quark"}, "for": {"reference": "Patient/ann"}}, MONDAY)
    for ref in (clinic.task("ann", "first-call").ref, "Task/odd", "Task/gone"):
        tell(database, ref, MONDAY)
    run(database, mailing(smtp), MONDAY + MINUTE)
    body = mailbox.mails[0].get_body(("plain",))
    assert body is not None
    lines = body.get_content().split()
    assert "- 1 x First call - 2 x Work" in " ".join(lines)
    assert [one for one in lines if "/tasks/" in one] == [f"{PUBLIC}/tasks/{clinic.task('ann', 'first-call').ref[5:]}"]


@pytest.mark.fault("F38")
@pytest.mark.parametrize("answer", ["451 try later", "421 going down", "452 full"])
def test_a_mail_server_that_says_later_is_asked_again_under_the_same_id(
    database: Database, mailbox: Mailbox, smtp: str, answer: str
) -> None:
    tell(database, "Task/a", MONDAY)
    mailbox.to_data = [answer, answer]
    given, moment, ids = mailing(smtp), MONDAY + MINUTE, set()
    for _ in range(2):
        assert run(database, given, moment) == {"waiting": 1}
        assert run(database, given, moment) == {}
        (one,) = left(database)
        assert one.reason is not None
        assert "4" in one.reason
        ids.add(told.message_id(one))
        assert one.due_at > moment
        moment = one.due_at
    assert run(database, given, moment) == {"sent": 1}
    assert left(database) == []
    assert [str(one["Message-ID"]) for one in mailbox.mails] == [f"<{ids.pop()}@tracker.example.org>"]
    assert not ids


@pytest.mark.fault("F38")
@pytest.mark.parametrize("where", ["to_recipient", "to_data"])
def test_a_mail_that_is_refused_for_good_is_dead_with_the_reason_and_can_be_tried_again_by_hand(
    database: Database, mailbox: Mailbox, smtp: str, where: str
) -> None:
    tell(database, "Task/a", MONDAY)
    setattr(mailbox, where, ["550 no such user Zebulon"])
    given = mailing(smtp)
    assert run(database, given, MONDAY + MINUTE) == {"dead": 1}
    assert run(database, given, MONDAY + timedelta(days=9)) == {}
    (one,) = left(database)
    assert (one.state, one.attempts) == ("dead", 1)
    assert one.reason in ("The mail server answered 550 to the recipient.", "The mail server answered 550 to the mail.")
    with database.begin() as tx:
        dispatches.again(tx, one, MONDAY + 2 * MINUTE)
    assert run(database, given, MONDAY + 2 * MINUTE) == {"sent": 1}
    assert len(mailbox.mails) == 1


@pytest.mark.fault("F38")
def test_a_mail_server_that_hangs_is_left_in_time(mailbox: Mailbox, smtp: str) -> None:
    mailbox.hang = True
    given = mailing(smtp)
    assert given.smtp_url is not None
    message = _plain_mail()
    with pytest.raises(RemoteFailure) as caught:
        mail.send(given.smtp_url, message, "a@x.org", "b@x.org", in_all=0.5)
    assert not caught.value.permanent
    assert mailbox.mails == []


@pytest.mark.fault("F38")
def test_a_mail_server_that_drips_its_greeting_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def drip() -> None:
            peer, _ = listening.accept()
            with peer:
                while not over.wait(0.05):
                    try:
                        peer.sendall(b"2")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        server = settings(SMTP_URL=f"smtp+plain://127.0.0.1:{listening.getsockname()[1]}").smtp_url
        assert server is not None
        with pytest.raises(RemoteFailure):
            mail.send(server, _plain_mail(), "a@x.org", "b@x.org", in_all=0.5)
        over.set()
        thread.join(30)


@pytest.mark.fault("F38")
def test_a_mail_server_that_is_not_there_costs_a_round_a_few_tries_and_loses_nothing(
    database: Database, mailbox: Mailbox
) -> None:
    for number in range(deliver.FAILURES_TO_STOP + 2):
        tell(database, "Task/a", MONDAY, to=f"role-{number}")
    nowhere = mailing("smtp+plain://127.0.0.1:1", "*=all@clinic.example")
    assert run(database, nowhere, MONDAY + MINUTE) == {"waiting": deliver.FAILURES_TO_STOP}
    with serving(mailbox) as back:
        moment = MONDAY + timedelta(hours=2)
        assert run(database, mailing(back, "*=all@clinic.example"), moment) == {"sent": deliver.FAILURES_TO_STOP + 2}
    assert left(database) == []


def test_a_worker_that_dies_after_sending_sends_again_under_the_same_id_when_its_lease_is_over(
    database: Database, mailbox: Mailbox, smtp: str
) -> None:
    tell(database, "Task/a", MONDAY)
    given, moment = mailing(smtp), MONDAY + MINUTE
    deliver._gather(database, given, moment)
    with database.begin() as tx:
        held = dispatches.claim(tx, "email", moment, deliver.LEASE)
    assert held is not None
    deliver._send(database, given, held, moment)
    assert run(database, given, moment + MINUTE) == {}
    assert run(database, given, moment + deliver.LEASE + MINUTE) == {"sent": 1}
    with database.begin() as tx:
        assert not dispatches.sent(tx, held, moment)
        assert not dispatches.failed(tx, held, "too late", None, moment)
    assert len({str(one["Message-ID"]) for one in mailbox.mails}) == 1
    assert len(mailbox.mails) == 2


def test_two_workers_share_what_is_due_and_send_each_mail_once(database: Database, mailbox: Mailbox, smtp: str) -> None:
    for number in range(12):
        tell(database, "Task/a", MONDAY, to=f"role-{number}")
    given = mailing(smtp, "*=all@clinic.example")
    workers = [threading.Thread(target=run, args=(database, given, MONDAY + MINUTE)) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert len({str(one["Message-ID"]) for one in mailbox.mails}) == len(mailbox.mails) == 12


def test_without_a_mail_server_or_an_address_it_says_so_and_is_addressed_anew_when_asked(
    database: Database, mailbox: Mailbox, smtp: str
) -> None:
    tell(database, "Task/a", MONDAY)
    tell(database, "Task/a", MONDAY, channel="webhook")
    bare = load_settings({"HOME": "/h"})
    assert run(database, bare, MONDAY + MINUTE) == {}
    assert sorted(one.reason or "" for one in left(database)) == [
        "Not set: FHIR_TRACKER_NOTIFY_WEBHOOK, FHIR_TRACKER_WEBHOOK_SECRET.",
        "Not set: FHIR_TRACKER_SMTP_URL, FHIR_TRACKER_SMTP_FROM.",
    ]
    with database.begin() as tx:
        for one in dispatches.left(tx, ["unsupported"]):
            dispatches.again(tx, one, MONDAY + MINUTE)
    run(database, mailing(smtp, ""), MONDAY + MINUTE)
    assert "There is no address of provider for email." in [one.reason for one in left(database)]
    with database.begin() as tx:
        for one in dispatches.left(tx, ["unsupported"]):
            dispatches.again(tx, one, MONDAY + MINUTE)
    assert run(database, mailing(smtp), MONDAY + MINUTE)["sent"] == 1
    assert mailbox.recipients == ["doctors@clinic.example"]


def test_people_get_mail_at_their_address_at_work_and_their_substitute_while_they_are_away(
    database: Database, mailbox: Mailbox, smtp: str
) -> None:
    clinic = Clinic(database)
    for name in ("ann", "ben"):
        clinic.put(practitioner(name), MONDAY)
        clinic.put(role(name, code="207Q00000X"), MONDAY)
    bad = [{"system": "email", "use": "work", "value": "evil@x.org\nBcc: all@x.org"}]
    clinic.put(practitioner("cem", telecom=bad), MONDAY)
    clinic.put(role("cem", code="207Q00000X"), MONDAY)
    staffing.keep_owned(database, MONDAY)
    with clinic.acting(MONDAY) as (tx, by):
        staff.go_away(
            tx, "Practitioner/ann", start=MONDAY, end=None, substitute="Practitioner/ben", author=by, keeps_work=True
        )
    tell(database, "Task/a", MONDAY, to="provider")
    tell(database, "Task/b", MONDAY, to="Practitioner/ann")
    assert run(database, mailing(smtp, "rn=x@x.org"), MONDAY + MINUTE) == {"sent": 2}
    assert mailbox.recipients == ["ben@clinic.example", "ben@clinic.example"]
    assert sorted(one["Subject"] for one in mailbox.mails) == [
        "1 piece of work for provider",
        "1 piece of work for you",
    ]


def hooking(hook: Hook) -> Settings:
    return settings(NOTIFY_WEBHOOK=f"provider={hook.address}", WEBHOOK_SECRET=SECRET)


@pytest.mark.security("L4", "D1")
@pytest.mark.fault("F38")
def test_a_webhook_call_is_signed_names_our_own_ids_and_is_repeated_under_the_same_id(
    database: Database, hook: Hook
) -> None:
    first, second = (tell(database, ref, MONDAY, channel="webhook") for ref in ("Task/a", "Task/b"))
    hook.answers = [500, 429]
    moment = clock.now()
    for _ in range(2):
        assert run(database, hooking(hook), moment) == {"waiting": 1}
        moment = left(database)[0].due_at
    assert run(database, hooking(hook), moment) == {"sent": 1}
    headers = [{name.lower(): text for name, text in one.items()} for one, _ in hook.calls]
    assert len({one["webhook-id"] for one in headers}) == 1
    assert len({body for _, body in hook.calls}) == 1
    payload = Webhook(SECRET).verify(hook.calls[0][1], headers[0])
    assert payload["data"]["notifications"] == [str(first), str(second)]
    assert payload["data"]["link"] == f"{PUBLIC}/?role=provider"
    assert not any(word in hook.calls[0][1].lower() for word in ("zebulon", "quark", "ann"))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(hook.calls[0][1].replace("provider", "everyone"), headers[0])


@pytest.mark.security("S27")
@pytest.mark.fault("F38")
@pytest.mark.parametrize("status", [301, 307, 410])
def test_a_webhook_that_redirects_or_is_gone_is_dead_and_nothing_else_is_called(
    database: Database, hook: Hook, status: int
) -> None:
    tell(database, "Task/a", MONDAY, channel="webhook")
    hook.answers = [status]
    assert run(database, hooking(hook), MONDAY) == {"dead": 1}
    assert len(hook.calls) == 1
    (one,) = left(database)
    assert one.reason is not None
    assert str(status) in one.reason


@pytest.mark.fault("F38")
def test_a_webhook_that_does_not_answer_is_left_in_time(hook: Hook) -> None:
    hook.answers = [0]
    with pytest.raises(RemoteFailure) as caught:
        webhooks.call(hook.address, SECRET, "id", {}, MONDAY, silence=0.3)
    assert not caught.value.permanent


def test_what_never_succeeds_is_dead_after_its_last_try(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(database, "Task/a", MONDAY)
    nowhere, moment, tries = mailing("smtp+plain://127.0.0.1:1"), MONDAY + MINUTE, 0
    while (found := run(database, nowhere, moment, chance=0.5)) == {"waiting": 1}:
        tries += 1
        moment = left(database)[0].due_at
    assert (found, tries) == ({"dead": 1}, deliver.MOST_TRIES - 1)
    assert moment - MONDAY > timedelta(days=1)


def test_pauses_double_up_to_an_hour_and_chance_only_shortens_them() -> None:
    assert [deliver.pause(tries, 0.0) for tries in (1, 2, 3)] == [timedelta(seconds=one) for one in (30, 60, 120)]
    assert deliver.pause(60, 0.0) == timedelta(hours=1)
    assert deliver.pause(60, 1.0) == timedelta(minutes=30)


def test_reading_a_notification_in_the_application_keeps_no_mail_back(
    database: Database, mailbox: Mailbox, smtp: str
) -> None:
    id_ = tell(database, "Task/a", MONDAY)
    clinic = Clinic(database)
    with clinic.acting(MONDAY) as (tx, by):
        assert notifications.mark_read(tx, by.viewer, id_, MONDAY)
    assert run(database, mailing(smtp), MONDAY + MINUTE) == {"sent": 1}
    assert json.dumps(list(mailbox.recipients)) == '["doctors@clinic.example"]'


def _plain_mail() -> Any:
    held = Dispatch(
        id=1, channel="email", address="b@x.org", role="rn", person=None, notifications=(), state="waiting",
        due_at=MONDAY, attempts=1, lease_until=None, token=1, created_at=MONDAY, ended_at=None, reason=None,
    )  # fmt: skip
    said = told.Told(dispatch=held, whom="rn", lines=(), subjects=(), queue="", links=())
    return told.mail_of(said, "a@x.org", "", MONDAY)


@pytest.mark.security("B1", "S52")
def test_what_is_sent_or_cannot_be_is_in_the_audit_trail(database: Database, mailbox: Mailbox, smtp: str) -> None:
    late_clinic(database)
    assert run(database, mailing("smtp+plain://127.0.0.1:9"), SECOND_LEVEL + MINUTE) == {"waiting": 1}
    assert run(database, mailing(smtp), SECOND_LEVEL + timedelta(hours=1)) == {"sent": 1}
    with database.read() as tx:
        rows = [row for row in reversed(audit.list(tx, open_viewer(), limit=1000)) if row.action == "send"]
    assert [(row.outcome, row.detail["channel"], row.kind, row.who) for row in rows] == [
        ("error", "email", "worker", "Device/deliver"),
        ("success", "email", "worker", "Device/deliver"),
    ]
    assert "clinic.example" not in repr(rows)
