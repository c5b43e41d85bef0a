"""Every kind of message that can leave, found in the code, about everything there is: nothing of a patient goes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_tracker import records
from fhir_tracker.storage import notifications
from fhir_tracker.storage.database import Database
from tests.subscriptions.mail_server import Mailbox
from tests.subscriptions.test_deliver import MINUTE, SECRET, left, run, settings
from tests.support.clinic import MONDAY, Clinic, author
from tests.support.doors import each_call
from tests.support.receivers import Hook

MADE_HERE = "01a20939-70db-7a7b-9952-48e7e8fb8d7"
"""All but the last digit of an id of ours."""
ORIGINS = {"fhir_tracker.effects.notify", "fhir_tracker.escalation.fire", "fhir_tracker.glass._tell"}
"""Who writes notifications: a rule, a level of a ladder, and broken glass."""
CANARIES = (
    "Wolkenbruchova",
    "Thaddaeuxa",
    "1927-04-19",
    "MRN-660417",
    "555-0177",
    "Quillmere",
    "thaddaeuxa@",
    "grieves",
)
WORDS = "Wolkenbruchova Thaddaeuxa, 1927-04-19, MRN-660417, 555-0177, 9 Quillmere Row, thaddaeuxa@x.example, grieves"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "name": [{"family": "Wolkenbruchova", "given": ["Thaddaeuxa"]}],
    "birthDate": "1927-04-19",
    "identifier": [{"value": "MRN-660417"}],
    "telecom": [{"system": "phone", "value": "555-0177"}, {"system": "email", "value": "thaddaeuxa@x.example"}],
    "address": [{"line": ["9 Quillmere Row"]}],
}
SAID = {"code": {"text": WORDS}, "description": WORDS, "note": [{"text": WORDS}]}
ABOUT: dict[str, dict[str, Any]] = {
    "Task": {"status": "requested", "intent": "order", "reasonCode": {"text": WORDS}, **SAID},
    "CarePlan": {"status": "active", "intent": "plan", "title": WORDS, "description": WORDS, "note": SAID["note"]},
    "ServiceRequest": {"status": "active", "intent": "order", "code": SAID["code"], "note": SAID["note"]},
    "Appointment": {"status": "booked", "comment": WORDS, "description": WORDS},
    "Communication": {"status": "completed", "payload": [{"contentString": WORDS}], "note": SAID["note"]},
    "DocumentReference": {"status": "current", "description": WORDS},
    "Flag": {"status": "active", "code": SAID["code"]},
    "Patient": PATIENT,
}
OF_PATIENT = {"Task": "for", "CarePlan": "subject", "ServiceRequest": "subject", "Flag": "subject"}
TOLD = ("rn", "provider", "clinic-admin")


def subjects(database: Database) -> list[str]:
    """What can be told of: work of a program, and each type in the words of an EHR, under ids of theirs and of ours, or gone."""
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    found = [clinic.task("ann", "first-call").ref]
    with database.begin() as tx:
        records.save(tx, PATIENT | {"id": "Wolkenbruchova"}, author(MONDAY))
        for number, (type_, members) in enumerate(ABOUT.items()):
            for id_ in ("MRN-660417", f"{MADE_HERE}{number}"):
                of = {OF_PATIENT[type_]: {"reference": "Patient/Wolkenbruchova"}} if type_ in OF_PATIENT else {}
                records.save(tx, {"resourceType": type_, "id": id_, **members, **of}, author(MONDAY))
                found.append(f"{type_}/{id_}")
    return [*found, "Task/Wolkenbruchova-gone", "Nothing/Quillmere", "grieves"]


def test_every_writer_of_notifications_is_known() -> None:
    assert {place for place, _ in each_call("notifications.add")} == ORIGINS


def test_only_two_ways_lead_out() -> None:
    """A third kind of message has to come through here, or stand below with a test of its own."""
    assert {place for place, _ in each_call("webhooks.call", "mail.send", "smtp.send_message")} == {
        "subscriptions.deliver._send",
        "subscriptions.mail._hand_over",
    }


@pytest.mark.security("L4", "L1", "S53")
def test_nothing_of_a_patient_leaves_in_any_message_about_anything(
    database: Database, mailbox: Mailbox, smtp: str, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    refs = subjects(database)
    with database.begin() as tx:
        for role in TOLD:
            for channel in ("email", "webhook", "in-app"):
                for ref in refs:
                    notifications.add(
                        tx, to_role=role, to_person=None, channel=channel, subject=ref, patient="Wolkenbruchova",
                        text=WORDS, at=MONDAY,
                    )  # fmt: skip
    given = settings(
        SMTP_URL=smtp,
        NOTIFY_MAIL=",".join(f"{role}={role}@clinic.example" for role in TOLD),
        NOTIFY_WEBHOOK=",".join(f"{role}={hook.address}" for role in TOLD),
        WEBHOOK_SECRET=SECRET,
    )
    caplog.set_level("DEBUG")
    sent = sum(run(database, given, MONDAY + number * MINUTE).get("sent", 0) for number in range(1, 4))
    assert sent >= 2 * len(TOLD)
    assert len(mailbox.mails) >= len(TOLD)
    assert len(hook.calls) >= len(TOLD)
    out = [message.as_string() for message in mailbox.mails]
    out += [str(part.get_content()) for mail in mailbox.mails for part in mail.walk() if not part.is_multipart()]
    out += [json.dumps(headers) + body + repr(json.loads(body)) for headers, body in hook.calls]
    out += [repr(left(database)), caplog.text]
    for text in out:
        assert [one for one in CANARIES if one.lower() in text.lower()] == []
    assert any(f"/tasks/{MADE_HERE}0" in text for text in out), "what is ours is led to"
