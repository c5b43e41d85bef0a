"""One mail to one mail server, bounded in time; what the server said decides whether it is worth trying again.

https://www.rfc-editor.org/rfc/rfc5321
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage

from fhir_tracker.addresses import MailServer
from fhir_tracker.errors import RemoteFailure

SILENCE = 10.0
"""Seconds that the server may take for one answer."""
IN_ALL = 30.0
"""Seconds that one mail may take in all, however slowly the server drips its answers."""
_OURSELVES = "[127.0.0.1]"


def send(server: MailServer, message: EmailMessage, sender: str, recipient: str, *, in_all: float = IN_ALL) -> None:
    """Hand a mail over; when this returns the server has taken it.

    Raises RemoteFailure: `permanent` when the server refused this mail for good (5xx to sender, recipient or content).
    """
    smtp = _unconnected(server, min(SILENCE, in_all))
    try:
        with _deadline(smtp, in_all):
            _log_in(smtp, server)
            _hand_over(smtp, message, sender, recipient)
    except smtplib.SMTPResponseException as error:
        raise RemoteFailure(f"The mail server answered {error.smtp_code}.") from None
    except smtplib.SMTPServerDisconnected:
        raise RemoteFailure("The mail server broke the connection, or did not answer in time.") from None
    except smtplib.SMTPException as error:
        raise RemoteFailure(f"The mail server cannot be used ({type(error).__name__}).") from None
    except ssl.SSLError:
        raise RemoteFailure("The mail server's TLS cannot be trusted.") from None
    except TimeoutError:
        raise RemoteFailure("The mail server did not answer in time.") from None
    except (OSError, ValueError):
        raise RemoteFailure("The mail server cannot be reached.") from None
    finally:
        smtp.close()


def _unconnected(server: MailServer, silence: float) -> smtplib.SMTP:
    """The client without a connection yet, so that the deadline can already end it."""
    if server.tls == "always":
        context = ssl.create_default_context()
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(timeout=silence, local_hostname=_OURSELVES, context=context)
    else:
        smtp = smtplib.SMTP(timeout=silence, local_hostname=_OURSELVES)
    smtp._host = server.host  # type: ignore[attr-defined]
    return smtp


def _log_in(smtp: smtplib.SMTP, server: MailServer) -> None:
    code, _ = smtp.connect(server.host, server.port)
    if code != 220:
        raise RemoteFailure(f"The mail server greeted with {code}.")
    if server.tls == "starttls":
        smtp.starttls(context=ssl.create_default_context())
    if server.user:
        smtp.login(server.user, server.password)


def _hand_over(smtp: smtplib.SMTP, message: EmailMessage, sender: str, recipient: str) -> None:
    try:
        smtp.send_message(message, from_addr=sender, to_addrs=[recipient])
    except smtplib.SMTPRecipientsRefused as error:
        code = next((code for code, _ in error.recipients.values()), 550)
        raise RemoteFailure(f"The mail server answered {code} to the recipient.", permanent=code >= 500) from None
    except smtplib.SMTPSenderRefused as error:
        where = f"The mail server answered {error.smtp_code} to the sender."
        raise RemoteFailure(where, permanent=error.smtp_code >= 500) from None
    except smtplib.SMTPDataError as error:
        where = f"The mail server answered {error.smtp_code} to the mail."
        raise RemoteFailure(where, permanent=error.smtp_code >= 500) from None
    with contextlib.suppress(smtplib.SMTPException, OSError):
        smtp.quit()


@contextlib.contextmanager
def _deadline(smtp: smtplib.SMTP, seconds: float) -> Iterator[None]:
    """End the connection after `seconds`, whatever is under way on it."""
    timer = threading.Timer(seconds, _hang_up, args=(smtp,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(smtp: smtplib.SMTP) -> None:
    if isinstance(smtp.sock, socket.socket):
        with contextlib.suppress(OSError):
            smtp.sock.shutdown(socket.SHUT_RDWR)
