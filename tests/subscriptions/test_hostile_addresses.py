"""Addresses, names and words made to hurt, on their way out of the application: refused in the settings, or harmless on the wire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from email import message_from_bytes
from email.policy import SMTP
from typing import Final

import pytest

from fhir_tracker import staffing
from fhir_tracker.config import load_settings
from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.storage import staff
from fhir_tracker.storage.database import Database
from subscriptions import webhooks
from tests.subscriptions.mail_server import Mailbox
from tests.subscriptions.test_deliver import (
    MINUTE,
    PUBLIC,
    SECOND_LEVEL,
    SECRET,
    hooking,
    left,
    mailing,
    run,
    settings,
    tell,
)
from tests.support.clinic import MONDAY, RING, Clinic
from tests.support.receivers import Hook
from tests.test_staffing import practitioner, role

PASSWORD: Final = "hunter2-of-nobody"


@pytest.mark.parametrize(
    "address",
    [
        "http://chat.example.org/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1@evil.example/",
        "https://user:pw@chat.example.org/",
        "https://chat.example.org/#part",
        "https://chat.example.org:0/",
        "https://chat.example.org:99999/",
        "https://chat.example.org:x/",
        "https:///hook",
        "https://",
        "https://[::1/",
        "https://chat..example/",
        "https://.../",
        "https://chat example.org/",
        "https://chat.example.org/\r\nHost: evil.example",
        "https://chat.example.org/\x7f",
        "https://chat\n.example.org/",
        "https://\u2028/",
        f"https://chat.example.org/{'x' * 2_000}",
        "file:///etc/passwd",
        "ftp://chat.example.org/",
        "//chat.example.org/",
        "javascript:alert(1)",
        "chat.example.org",
    ],
)
def test_a_webhook_goes_to_https_or_this_machine_and_to_nothing_that_can_be_read_in_two_ways(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings(NOTIFY_WEBHOOK=f"rn={address}", WEBHOOK_SECRET=SECRET)
    assert "FHIR_TRACKER_NOTIFY_WEBHOOK" in str(refused.value)
    assert "https://chat.example.org/hook" in str(refused.value)


@pytest.mark.parametrize(
    "host", ["xn--a", "\uff1c", "a" * 64 + ".example", "[v1.x]", "xn--\u00e4", "-", "a%zz", "%", "1.2.3.4.5.invalid"]
)
def test_an_address_that_can_be_nobodys_is_dead_with_a_reason_and_holds_up_nobody_else(
    database: Database, hook: Hook, host: str
) -> None:
    """What the settings let pass and no library can call: the others of the same round still go out."""
    tell(database, "Task/a", MONDAY, channel="webhook", to="rn")
    tell(database, "Task/b", MONDAY, channel="webhook")
    given = settings(NOTIFY_WEBHOOK=f"rn=https://{host}/,provider={hook.address}", WEBHOOK_SECRET=SECRET)
    counts = run(database, given, MONDAY)
    assert counts.pop("sent") == 1
    assert list(counts.values()) == [1]
    (one,) = left(database)
    assert one.reason is not None
    assert "webhook" in one.reason
    assert len(hook.calls) == 1


def test_an_address_for_no_host_is_refused_for_good_and_one_that_is_away_is_not() -> None:
    for address, permanent in (("https://xn--a/", True), ("https://[v1.x]/", True), ("http://127.0.0.1:1/", False)):
        with pytest.raises(RemoteFailure) as caught:
            webhooks.call(address, SECRET, "id", {}, MONDAY)
        assert caught.value.permanent is permanent
        assert address not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SMTP_URL", f"smtp://user:{PASSWORD}"),
        ("SMTP_URL", f"smtp://user:{PASSWORD}@"),
        ("SMTP_URL", f"smtp://user:{PASSWORD}/x@mail.example"),
        ("SMTP_URL", f"smtp://user:{PASSWORD}@mail.example:99999"),
        ("SMTP_URL", f"smtp://user:{PASSWORD}@[::1"),
        ("SMTP_URL", f"smtp://user:{PASSWORD}\u2100@mail.example"),
        ("SMTP_URL", f"smtp://user:{PASSWORD}\n@mail.example"),
        ("SMTP_URL", f"smtp+plain://user:{PASSWORD}@mail.example"),
        ("SMTP_URL", f"mail://user:{PASSWORD}@mail.example"),
        ("SMTP_URL", PASSWORD),
        ("WEBHOOK_SECRET", PASSWORD),
        ("WEBHOOK_SECRET", f"whsec_{PASSWORD}"),
        ("WEBHOOK_SECRET", f"whsec_{PASSWORD}\u00e9"),
        ("WEBHOOK_SECRET", "whsec_" + base64.b64encode(PASSWORD.encode()).decode()),
        ("NOTIFY_WEBHOOK", f"rn=https://user:{PASSWORD}@chat.example.org/"),
        ("NOTIFY_WEBHOOK", f"rn=https://chat.example.org:{PASSWORD}/"),
        ("NOTIFY_WEBHOOK", f"rn https://chat.example.org/{PASSWORD}"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_it(name: str, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_settings({"HOME": "/h", f"FHIR_TRACKER_{name}": text})
    told = f"{refused.value} {refused.value.__cause__} {refused.value.issues}"
    assert f"FHIR_TRACKER_{name}" in told
    assert PASSWORD not in told
    assert base64.b64encode(PASSWORD.encode()).decode() not in told


def test_secrets_are_in_no_description_of_the_settings_and_in_no_log(
    database: Database, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = settings(
        SMTP_URL=f"smtp://user:{PASSWORD}@127.0.0.1:1",
        NOTIFY_MAIL="provider=doctors@clinic.example",
        NOTIFY_WEBHOOK=f"rn={hook.address}",
        WEBHOOK_SECRET=SECRET,
    )
    tell(database, "Task/a", MONDAY)
    tell(database, "Task/b", MONDAY, channel="webhook", to="rn")
    hook.answers = [500]
    run(database, given, MONDAY + MINUTE)
    told = [repr(given), str(given), repr(given.smtp_url), caplog.text, *(str(one.reason) for one in left(database))]
    assert len(left(database)) == 2
    assert not any(secret in text for text in told for secret in (PASSWORD, SECRET, SECRET.removeprefix("whsec_")))


def test_a_call_verifies_with_nothing_but_the_published_rule(database: Database, hook: Hook) -> None:
    """By hand, as a receiver without the library would: HMAC-SHA256 of id, time and body."""
    tell(database, "Task/a", MONDAY, channel="webhook")
    run(database, hooking(hook), MONDAY)
    ((given, body),) = hook.calls
    headers = {name.lower(): text for name, text in given.items()}
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    versions = dict(one.split(",", 1) for one in headers["webhook-signature"].split(" "))
    assert hmac.compare_digest(versions["v1"], wanted)
    assert int(headers["webhook-timestamp"]) == int(MONDAY.timestamp())
    assert (headers["content-type"], json.loads(body)["type"]) == ("application/json", "work.notified")
    for name in ("authorization", "cookie"):
        assert name not in headers


NASTY: Final = 'Call <script>alert("x")</script> &amp; more'


def test_words_of_a_program_are_words_in_mails_and_calls(
    database: Database, mailbox: Mailbox, smtp: str, hook: Hook
) -> None:
    """A title with markup and line breaks stays one title: no new header, no new element, no new line of JSON."""
    text = RING.replace("title: First call", f"title: {json.dumps(NASTY + chr(10) + 'Bcc: everyone@evil.example')}")
    clinic = Clinic(database, text)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    ref = clinic.task("ann", "first-call").ref
    tell(database, ref, MONDAY)
    tell(database, ref, MONDAY, channel="webhook")
    given = settings(
        SMTP_URL=smtp,
        NOTIFY_MAIL="provider=doctors@clinic.example",
        NOTIFY_WEBHOOK=f"provider={hook.address}",
        WEBHOOK_SECRET=SECRET,
    )
    assert run(database, given, MONDAY + MINUTE) == {"sent": 2}
    (message,) = mailbox.mails
    assert mailbox.recipients == ["doctors@clinic.example"]
    assert message["Bcc"] is None
    assert set(message.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress", "MIME-Version",
        "Content-Type", "X-Peer", "X-MailFrom", "X-RcptTo",
    }  # fmt: skip
    rich = message.get_body(("html",))
    assert rich is not None
    assert "<script>" not in rich.get_content()
    ((_, body),) = hook.calls
    assert json.loads(body)["data"]["kinds"][0]["kind"].startswith(NASTY)
    assert "\n" not in body


@pytest.mark.parametrize(
    "mail",
    [
        "ben@clinic.example\r\nBcc: everyone@evil.example",
        "ben@clinic.example, everyone@evil.example",
        "Ben <ben@clinic.example>",
        "ben@clinic.example>\r\nRCPT TO:<everyone@evil.example",
        "ben@",
        "@clinic.example",
        "ben",
        '"ben\\"@evil.example"@clinic.example',
        "ben@clinic.example\x00",
        "b\u00e9n@clinic.example",
        f"{'b' * 65}@clinic.example",
    ],
)
def test_a_person_whose_address_is_none_gets_no_mail_and_nobody_else_gets_theirs(
    database: Database, mailbox: Mailbox, smtp: str, mail: str
) -> None:
    """The EHR says which address somebody has; what is no plain address is as good as none, and said so."""
    clinic = Clinic(database)
    telecom = [{"system": "email", "use": "work", "value": mail.replace("\x00", "\\0")}]
    clinic.put(practitioner("ben") | {"telecom": telecom}, MONDAY)
    clinic.put(role("ben"), MONDAY)
    staffing.keep_owned(database, MONDAY)
    with database.read() as tx:
        (ben,) = staff.everybody(tx, MONDAY)
    assert (ben.ref, ben.active) == ("Practitioner/ben", True)
    tell(database, "Task/a", MONDAY, to="Practitioner/ben")
    tell(database, "Task/b", MONDAY)
    assert run(database, mailing(smtp), MONDAY + MINUTE) == {"sent": 1}
    assert mailbox.recipients == ["doctors@clinic.example"]
    (one,) = left(database)
    assert one.reason == "There is no address of Practitioner/ben for email."


def test_a_mail_as_it_left_is_a_mail_as_the_standard_says(database: Database, mailbox: Mailbox, smtp: str) -> None:
    tell(database, "Task/a", SECOND_LEVEL)
    assert run(database, mailing(smtp), SECOND_LEVEL + MINUTE) == {"sent": 1}
    (message,) = mailbox.mails
    again = message_from_bytes(message.as_bytes(policy=SMTP), policy=SMTP)
    assert not again.defects
    assert not any(part.defects for part in again.walk())
    assert again["Message-ID"].endswith(f"@{PUBLIC.removeprefix('https://')}>")
    assert all(len(line) <= 998 for line in again.as_bytes(policy=SMTP).split(b"\r\n"))
