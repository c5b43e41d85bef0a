"""A real mail server on the loopback interface that answers as a test says, and keeps what it took."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

OK = "250 OK"
logging.getLogger("mail.log").setLevel(logging.WARNING)


class Mailbox:
    """What the server took; `to_recipient` and `to_data` are its answers, `hang` makes it keep silent after DATA."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.to_recipient: list[str] = []
        self.to_data: list[str] = []
        self.hang = False
        self._silent = asyncio.Event()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        answer = self.to_recipient.pop(0) if self.to_recipient else OK
        if answer == OK:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.hang:
            await self._silent.wait()
        answer = self.to_data.pop(0) if self.to_data else OK
        if answer == OK:
            self.mails.append(message_from_bytes(envelope.content, EmailMessage, policy=policy.default))
            self.recipients += envelope.rcpt_tos
        return answer


class _Controller(Controller):
    """On whichever port is free."""

    def _trigger_server(self) -> None:
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def serving(mailbox: Mailbox) -> Iterator[str]:
    """The server's address, as a setting has it."""
    controller = _Controller(mailbox, hostname="127.0.0.1", port=0, ready_timeout=60)
    controller.start()
    try:
        yield f"smtp+plain://127.0.0.1:{controller.port}"
    finally:
        controller.stop()
