"""What comes with a person's token: whose chart is open, for what, read tolerantly, and as this store calls it.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#launch-context-arrives-with-your-access_token
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_tracker.errors import Forbidden
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.loopback import leads_here
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer

_ID = re.compile(r"[A-Za-z0-9\-._~:]{1,255}")
_PLAIN = re.compile(r"https?://[^/@\\]+(/|$)")
_MOST_TEXT, _MOST_URL, _MOST_ITEMS = 200, 2000, 20


@dataclass(frozen=True, kw_only=True)
class LaunchContext:
    """What the EHR told; `patient` and `encounter` are its own ids, `items` references as it wrote them."""

    patient: str = ""
    encounter: str = ""
    intent: str = ""
    needs_banner: bool = True
    style_url: str = ""
    tenant: str = ""
    items: tuple[str, ...] = ()


def read_context(told: Mapping[str, Any]) -> LaunchContext:
    """The context in the answer that brought a token. What is odd is left out, but for a patient: Forbidden.

    A chart that cannot be told must not become a view of everybody.
    """
    encounter = _text(told, "encounter", _MOST_TEXT)
    style = _text(told, "smart_style_url", _MOST_URL)
    return LaunchContext(
        patient=_patient(told.get("patient")),
        encounter=encounter if _is_id(encounter) else "",
        intent=_text(told, "intent", _MOST_TEXT),
        needs_banner=told.get("need_patient_banner") is not False,
        style_url=style if _is_safe(style) else "",
        tenant=_text(told, "tenant", _MOST_TEXT),
        items=_items(told.get("fhirContext")),
    )


def local_patient(tx: Tx, issuer: Issuer, remote_id: str) -> tuple[str, bool]:
    """The id here of a patient of the EHR, which is never another's, and whether they are mirrored."""
    return _local(tx, issuer, "Patient", remote_id)


def local_encounter(tx: Tx, issuer: Issuer, remote_id: str) -> str | None:
    """The id here of an encounter of the EHR; None for none."""
    return _local(tx, issuer, "Encounter", remote_id)[0] if remote_id else None


def local_items(tx: Tx, issuer: Issuer, items: tuple[str, ...], own_base: str) -> tuple[str, ...]:
    """References of this store for the items of a context: ours, or mirrored from the EHR; others are left out."""
    found = [_item(tx, issuer, one, own_base) for one in items]
    return tuple(dict.fromkeys(one for one in found if one))


def _patient(told: object) -> str:
    """Whose chart is open, "" for nobody's; some servers write the id as a number, or as a reference."""
    if told is None or told == "":
        return ""
    text = str(told) if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else told
    found = text.removeprefix("Patient/") if isinstance(text, str) else ""
    if not _is_id(found):
        raise Forbidden("The EHR opened a chart, and what it calls its patient cannot be read.")
    return found


def _is_id(text: str) -> bool:
    """Whether it can be an id in an address: dots alone would lead elsewhere."""
    return _ID.fullmatch(text) is not None and text not in (".", "..")


def _item(tx: Tx, issuer: Issuer, text: str, own_base: str) -> str:
    is_own = text.startswith(f"{own_base}/")
    text = text.removeprefix(f"{own_base}/" if is_own else f"{issuer.url}/")
    type_, _, rest = text.partition("/")
    id_ = rest.partition("/_history/")[0]
    if type_ not in resource_types() or not _is_id(id_):
        return ""
    return f"{type_}/{id_ if is_own else _local(tx, issuer, type_, id_)[0]}"


def _local(tx: Tx, issuer: Issuer, type_: str, remote_id: str) -> tuple[str, bool]:
    known = resources.known(tx, issuer.key, type_, [remote_id]).get(remote_id)
    if known is not None:
        return known.id, not known.deleted
    return local_id(issuer.key, remote_id, type_), False


def _items(told: object) -> tuple[str, ...]:
    """References, those that were launched for before those with another role; a text alone is one of old."""
    entries = told[:_MOST_ITEMS] if isinstance(told, list) else []
    objects = [one if isinstance(one, dict) else {"reference": one} for one in entries]
    found = [one.get("reference") for one in sorted(objects, key=lambda one: one.get("role") not in (None, "launch"))]
    return tuple(one for one in found if isinstance(one, str) and one.isprintable() and len(one) <= _MOST_URL)


def _text(told: Mapping[str, Any], name: str, most: int) -> str:
    value = told.get(name)
    return value if isinstance(value, str) and value.isprintable() and len(value) <= most else ""


def _is_safe(url: str) -> bool:
    return _PLAIN.match(url) is not None and (url.startswith("https:") or leads_here(url))
