"""The time zone in which a patient lives: what the record says, else that of the state, by the ZIP code where a state has two.

https://hl7.org/fhir/extensions/StructureDefinition-timezone.html
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from zoneinfo import available_timezones

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import extension_value, objects_at, text_at

TIMEZONE: Final = "http://hl7.org/fhir/StructureDefinition/timezone"
_EASTERN, _CENTRAL, _MOUNTAIN, _PACIFIC = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
)
_STATES: Final = {
    **dict.fromkeys("CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV".split(), _EASTERN),
    **dict.fromkeys("AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI".split(), _CENTRAL),
    **dict.fromkeys("CO ID MT NM UT WY".split(), _MOUNTAIN),
    **dict.fromkeys("CA NV OR WA".split(), _PACIFIC),
    "AZ": "America/Phoenix",
    "AK": "America/Anchorage",
    "HI": "Pacific/Honolulu",
    "PR": "America/Puerto_Rico",
    "VI": "America/St_Thomas",
    "GU": "Pacific/Guam",
    "MP": "Pacific/Saipan",
    "AS": "Pacific/Pago_Pago",
}
_BY_ZIP: Final = {
    "FL": {"324": _CENTRAL, "325": _CENTRAL},
    "IN": {"463": _CENTRAL, "464": _CENTRAL, "476": _CENTRAL, "477": _CENTRAL},
    "KY": {**dict.fromkeys("420 421 422 423 424".split(), _CENTRAL)},
    "TN": {**dict.fromkeys("373 374 376 377 378 379".split(), _EASTERN)},
    "TX": {"798": _MOUNTAIN, "799": _MOUNTAIN, "885": _MOUNTAIN},
    "NE": {"691": _MOUNTAIN, "693": _MOUNTAIN},
    "SD": {"577": _MOUNTAIN},
    "ND": {"586": _MOUNTAIN},
    "ID": {"835": _PACIFIC, "838": _PACIFIC},
    "OR": {"979": _MOUNTAIN},
}
"""The first three digits of the ZIP codes that mostly keep another time than the rest of their state."""


def zone_of_patient(resource: Resource) -> str | None:
    """The zone named by the timezone extension on the Patient or an address, else that of the home's state; None if unknown."""
    addresses = [one for one in objects_at(resource, "address") if one.get("use") != "old"]
    homes = sorted(addresses, key=lambda one: one.get("use") != "home")
    for one in (resource, *homes):
        named = extension_value(one, TIMEZONE, "valueCode")
        if isinstance(named, str) and named in _zones():
            return named
    return next((zone for one in homes if (zone := _zone_of_state(one))), None)


def _zone_of_state(address: Resource) -> str | None:
    country = (text_at(address, "country") or "US").strip().upper()
    if country not in ("US", "USA", "UNITED STATES", "UNITED STATES OF AMERICA"):
        return None
    state = (text_at(address, "state") or "").strip().upper()
    code = _NAMES.get(state, state)
    digits = (text_at(address, "postalCode") or "").strip()[:3]
    return _BY_ZIP.get(code, {}).get(digits) or _STATES.get(code)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


_NAMES: Final = {
    "ALABAMA": "AL", "ALASKA": "AK", "ARIZONA": "AZ", "ARKANSAS": "AR", "CALIFORNIA": "CA", "COLORADO": "CO",
    "CONNECTICUT": "CT", "DELAWARE": "DE", "DISTRICT OF COLUMBIA": "DC", "FLORIDA": "FL", "GEORGIA": "GA",
    "HAWAII": "HI", "IDAHO": "ID", "ILLINOIS": "IL", "INDIANA": "IN", "IOWA": "IA", "KANSAS": "KS", "KENTUCKY": "KY",
    "LOUISIANA": "LA", "MAINE": "ME", "MARYLAND": "MD", "MASSACHUSETTS": "MA", "MICHIGAN": "MI", "MINNESOTA": "MN",
    "MISSISSIPPI": "MS", "MISSOURI": "MO", "MONTANA": "MT", "NEBRASKA": "NE", "NEVADA": "NV", "NEW HAMPSHIRE": "NH",
    "NEW JERSEY": "NJ", "NEW MEXICO": "NM", "NEW YORK": "NY", "NORTH CAROLINA": "NC", "NORTH DAKOTA": "ND",
    "OHIO": "OH", "OKLAHOMA": "OK", "OREGON": "OR", "PENNSYLVANIA": "PA", "PUERTO RICO": "PR", "RHODE ISLAND": "RI",
    "SOUTH CAROLINA": "SC", "SOUTH DAKOTA": "SD", "TENNESSEE": "TN", "TEXAS": "TX", "UTAH": "UT", "VERMONT": "VT",
    "VIRGINIA": "VA", "WASHINGTON": "WA", "WEST VIRGINIA": "WV", "WISCONSIN": "WI", "WYOMING": "WY",
}  # fmt: skip
