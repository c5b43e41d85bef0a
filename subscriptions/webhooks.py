"""One signed webhook call to an address of the settings; never anywhere else, so no redirect is followed.

https://www.standardwebhooks.com
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import httpx
from standardwebhooks.webhooks import Webhook

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.json_types import Json
from subscriptions import outbound

SILENCE = 10.0
"""Seconds that connecting, sending or the answer may take each."""
GONE = 410


def call(
    address: str, secret: str, id_: str, payload: Mapping[str, Json], at: datetime, *, silence: float = SILENCE
) -> None:
    """POST a payload under a stable id; when this returns it was answered 2xx. The body of the answer is not read.

    Raises RemoteFailure: `permanent` for a redirect, for 410, which says that nobody is to call again, and for an address
    that cannot be anybody's.
    """
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    headers = {
        "content-type": "application/json",
        "user-agent": "fhir-tracker",
        "webhook-id": id_,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, at, body),
    }
    try:
        with (
            outbound.client(outbound.reach_of(address), timeout=silence) as client,
            client.stream("POST", address, content=body.encode(), headers=headers) as answer,
        ):
            status = answer.status_code
    except httpx.TimeoutException:
        raise RemoteFailure("The webhook did not answer in time.") from None
    except httpx.HTTPError:
        raise RemoteFailure("The webhook cannot be reached.") from None
    except (httpx.InvalidURL, UnicodeError):
        raise RemoteFailure("The webhook's address in the settings can be nobody's.", permanent=True) from None
    if 300 <= status < 400:
        raise RemoteFailure(f"The webhook answered {status}: redirects are not followed.", permanent=True)
    if not 200 <= status < 300:
        raise RemoteFailure(f"The webhook answered {status}.", permanent=status == GONE)
