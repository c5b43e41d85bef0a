"""The Subscriptions we ask an EHR for, as FHIR R4 resources.

https://hl7.org/fhir/R4/subscription.html
http://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REST_HOOK = "rest-hook"
BACKPORT = "backport"
HEARTBEAT_SECONDS = 60
TIMEOUT_SECONDS = 10
SECRET_HEADER = "X-Hook-Secret"  # noqa: S105 - the name of a header
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
PROFILE = f"{_BACKPORT}/backport-subscription"
TOPICS = f"{_BACKPORT}/capabilitystatement-subscriptiontopic-canonical"
_SENDS_DELETIONS = "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages"
_FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What a server says of Subscriptions: whether it takes them, backport ones too, and the topics it has."""

    takes: bool
    backport: bool
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One Subscription to ask for; `criteria` is a search for rest-hook, a topic for backport."""

    type: str
    kind: str
    criteria: str

    def body(self, endpoint: str, secret: str, remote_id: str | None = None) -> dict[str, Any]:
        """The resource that asks for notifications at `endpoint`."""
        channel = {"type": "rest-hook", "endpoint": endpoint, "payload": _FHIR_JSON}
        own = _backport_parts() if self.kind == BACKPORT else _rest_hook_parts()
        return {
            "resourceType": "Subscription",
            **({"id": remote_id} if remote_id else {}),
            **({"meta": {"profile": [PROFILE]}} if self.kind == BACKPORT else {}),
            "status": "requested",
            "reason": f"fhir-tracker follows {self.type} for the practice",
            "criteria": self.criteria,
            "channel": {**own, **channel, "header": [f"{SECRET_HEADER}: {secret}"]},
        }


def candidates(how: str, type_: str, offers: Offers, topics: Mapping[str, str]) -> tuple[list[Wanted], str]:
    """What to ask for, the best first, and why there is nothing when there is nothing.

    A rest-hook tells of every change of a type, a topic of those it names; `topics` are those chosen by hand.
    """
    if not offers.takes and how != REST_HOOK:
        return [], "its CapabilityStatement offers no Subscription"
    topic = topics.get(type_) or topic_for(type_, offers.topics)
    hook = Wanted(type=type_, kind=REST_HOOK, criteria=f"{type_}?")
    by_topic = [Wanted(type=type_, kind=BACKPORT, criteria=topic)] if topic else []
    if how == REST_HOOK:
        return [hook], ""
    if how == BACKPORT:
        return by_topic, "" if by_topic else f"it has no topic for {type_}"
    return [hook, *(by_topic if offers.backport else [])], ""


def topic_for(type_: str, topics: Sequence[str]) -> str:
    """The topic that is named after a type, any change before one kind of change; "" when there is none."""
    named = [one for one in topics if _name(one) == type_.lower() or _name(one).startswith(f"{type_.lower()}-")]
    return min(named, key=lambda one: ("change" not in _name(one), "update" not in _name(one), one), default="")


def offers_of(statement: Mapping[str, Any]) -> Offers:
    """What a CapabilityStatement says of Subscription."""
    rests = [one for one in _list(statement.get("rest")) if isinstance(one, dict) and one.get("mode") != "client"]
    found = [one for rest in rests for one in _list(rest.get("resource")) if isinstance(one, dict)]
    mine = next((one for one in found if one.get("type") == "Subscription"), {})
    topics = [
        str(one.get("valueCanonical", "")).partition("|")[0]
        for holder in (mine, *rests, statement)
        for one in _list(holder.get("extension"))
        if isinstance(one, dict) and one.get("url") == TOPICS
    ]
    interactions = {one.get("code") for one in _list(mine.get("interaction")) if isinstance(one, dict)}
    return Offers(
        takes="create" in interactions,
        backport=PROFILE in _list(mine.get("supportedProfile")) or bool(topics),
        topics=tuple(dict.fromkeys(one for one in topics if one)),
    )


def _rest_hook_parts() -> dict[str, Any]:
    return {"extension": [{"url": _SENDS_DELETIONS, "valueBoolean": True}]}


def _backport_parts() -> dict[str, Any]:
    return {
        "extension": [
            {"url": f"{_BACKPORT}/backport-heartbeat-period", "valueUnsignedInt": HEARTBEAT_SECONDS},
            {"url": f"{_BACKPORT}/backport-timeout", "valueUnsignedInt": TIMEOUT_SECONDS},
        ],
        "_payload": {"extension": [{"url": f"{_BACKPORT}/backport-payload-content", "valueCode": "id-only"}]},
    }


def _name(topic: str) -> str:
    return topic.rstrip("/").rpartition("/")[2].lower()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
