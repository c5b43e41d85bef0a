"""A mail or webhook call says what it is meant to say, whatever roles, titles, ids and addresses hold."""

from __future__ import annotations

import email
import email.policy
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker import records
from fhir_tracker.addresses import is_mail
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.dispatches import Dispatch, Subject
from subscriptions.told import Line, Told, link_of, mail_of, payload_of, whom_of
from tests.subscriptions.mail_server import Mailbox
from tests.subscriptions.test_deliver import PUBLIC, left, mailing, run, tell
from tests.support.clinic import MONDAY, author

HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]
HOSTILE = [
    "rn\r\nBcc: thief@evil.example",
    "rn\nBcc: thief@evil.example",
    "rn\rBcc: thief@evil.example",
    "rn\r\n\r\n<script>alert(1)</script>",
    "rn\x00",
    "rn\u2028Bcc: x",
    "rn\x0bBcc: x",
    "rn\x85Bcc: x",
    "=?utf-8?q?rn=0D=0ABcc=3A_thief=40evil=2Eexample?=",
    "<b>rn</b>",
    "r" * 3_000,
    "\u202ern",
    "\ud800",
    "",
]


def dispatch(role: str | None, address: str = "nurses@clinic.example") -> Dispatch:
    return Dispatch(
        id=7,
        channel="email",
        address=address,
        role=role,
        person=None,
        notifications=("1",),
        state="waiting",
        due_at=MONDAY,
        attempts=1,
        lease_until=None,
        token=1,
        created_at=MONDAY,
        ended_at=None,
        reason=None,
    )


def told(role: str, kind: str = "First call") -> Told:
    subject = Subject(
        notification=1, ref="Task/x", kind="task", program=None, program_version=None, code="", priority="routine"
    )
    whom = whom_of(role)
    return Told(
        dispatch=dispatch(role), whom=whom, lines=(Line(kind=kind, count=1),), subjects=(subject,), queue="", links=()
    )


def storable(text: str) -> str:
    """A title as a program can have it: what no database holds is none."""
    return text.encode(errors="replace").decode()


@pytest.mark.security("L4", "S25", "S28")
@pytest.mark.parametrize("text", HOSTILE)
def test_no_role_or_title_adds_a_header_a_recipient_or_markup(text: str) -> None:
    raw = mail_of(told(text, storable(text)), "tracker@clinic.example", PUBLIC, MONDAY).as_bytes(
        policy=email.policy.SMTP
    )
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert read.keys() == HEADERS
    assert read["To"] == "nurses@clinic.example"
    assert read.get_all("Bcc", []) == []
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    rich = read.get_body(("html",))
    assert rich is not None
    assert "<script" not in rich.get_content()
    assert "<b>" not in rich.get_content()


@pytest.mark.security("L4", "S28")
@given(st.text(max_size=80))
def test_whatever_a_role_is_called_the_mail_is_one_mail(text: str) -> None:
    read = email.message_from_bytes(
        mail_of(told(text, storable(text)), "tracker@clinic.example", PUBLIC, MONDAY).as_bytes(
            policy=email.policy.SMTP
        ),
        policy=email.policy.default,
    )
    assert read.keys() == HEADERS
    assert str(read["Subject"]).startswith("1 piece of work for ")


@pytest.mark.security("L4")
@pytest.mark.parametrize("text", HOSTILE[:-2])
def test_a_webhook_call_is_one_object_whatever_stands_in_it(text: str) -> None:
    body = json.loads(json.dumps(payload_of(told(text, text)), ensure_ascii=False))
    assert body.keys() == {"type", "timestamp", "data"}
    assert body["data"]["kinds"] == [{"kind": text, "count": 1}]


@pytest.mark.security("L4", "S28")
@pytest.mark.parametrize(
    "address",
    [
        "a@x.example\r\nBcc: b@y.example",
        "a@x.example\n",
        "a@x.example,b@y.example",
        "a@x.example;b@y.example",
        "a@x.example b@y.example",
        "A <a@x.example>",
        '"a\\"@x.example',
        "a@x.example>\r\nRCPT TO:<b@y.example",
        "a@x.example\x00",
        "(c)a@x.example",
        "@x.example:a@y.example",
        "a@[127.0.0.1]\n",
        "-oQ/tmp@x.example\t",
        "",
    ],
)
def test_what_is_more_than_one_plain_address_is_nobodys(address: str) -> None:
    assert not is_mail(address)


@pytest.mark.security("L4")
@pytest.mark.parametrize(
    "id_", ["Kanarienvogel", "MRN-730915", "1931-07-13", "../x", "a?b=c", "0199a2085b-f567", "x" * 64]
)
def test_ids_that_were_not_made_here_are_in_no_link(id_: str) -> None:
    assert link_of(PUBLIC, f"Task/{id_}") == ""
    assert link_of(PUBLIC, f"Patient/{id_}") == ""


NAMES = {"family": "Kanarienvogel", "given": ["Wilhelmina"]}
SECRETS = ("kanarienvogel", "wilhelmina", "1931-07-13", "mrn-730915", "555-0100", "sparrow lane", "sister rings")


@pytest.mark.security("L4", "L1")
def test_nothing_of_a_patient_is_in_any_part_of_a_mail(database: Database, mailbox: Mailbox, smtp: str) -> None:
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "Kanarienvogel",
        "name": [NAMES],
        "birthDate": "1931-07-13",
    }
    patient |= {"identifier": [{"value": "MRN-730915"}], "telecom": [{"system": "phone", "value": "555-0100"}]}
    task: dict[str, Any] = {
        "resourceType": "Task",
        "id": "Kanarienvogel-MRN-730915",
        "status": "requested",
        "intent": "order",
    }
    task |= {"code": {"text": "Ring Wilhelmina"}, "description": "14 Sparrow Lane", "note": [{"text": "sister rings"}]}
    with database.begin() as tx:
        records.save(tx, patient | {"address": [{"line": ["14 Sparrow Lane"]}]}, author(MONDAY))
        records.save(tx, task | {"for": {"reference": "Patient/Kanarienvogel"}}, author(MONDAY))
    tell(database, "Task/Kanarienvogel-MRN-730915", MONDAY)
    assert run(database, mailing(smtp), MONDAY + timedelta(minutes=1)) == {"sent": 1}
    (message,) = mailbox.mails
    whole = message.as_string().lower() + "".join(
        part.get_content().lower() for part in message.walk() if part.get_content_maintype() == "text"
    )
    assert [one for one in SECRETS if one in whole] == []
    assert not any(one in repr(row).lower() for row in left(database) for one in SECRETS)
