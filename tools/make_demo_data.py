"""Writes api/demo/data/records.json.gz, the demo's patients, from Synthea transaction bundles.

Input: a folder of `*.json` or `*.json.gz` bundles, one a patient, as in R4/SYNTHEA of
https://github.com/smart-on-fhir/generated-sample-data (Apache-2.0). Moments become offsets from the day the demo runs
(`api/demo/records.py` reads them); what Synthea does not have (appointments, documents, staff roles, recent stays) is
derived from it and tagged `derived`.

    python tools/make_demo_data.py FOLDER
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from collections import defaultdict
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

TARGET = Path(__file__).parent.parent / "api" / "demo" / "data" / "records.json.gz"
ZONE = ZoneInfo("America/New_York")
TEST_DATA = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
DERIVED = {
    "system": "https://fhir-tracker.example/CodeSystem/demo",
    "code": "derived",
    "display": "Derived for the demo",
}
SNOMED = "http://snomed.info/sct"
LABS = ("4548-4", "55284-4", "18262-6")
MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?([+-]\d{2}:\d{2}|Z))?$")
ADULT_BEFORE = "2003"
SHORTEST_GAP = 32

# Each discharge: business days before today, local time, whether the summary was filed.
DISCHARGES = [
    ("-1b", "15:40", True), ("-1b", "11:15", False), ("-1b", "17:20", False), ("-1b", "13:05", True),
    ("-2b", "10:30", True), ("-2b", "14:45", True), ("-2b", "16:10", False), ("-2b", "12:20", True),
    ("-2b", "09:50", True), ("-2b", "15:30", False), ("-3b", "11:45", True), ("-3b", "14:00", True),
    ("-3b", "16:30", True), ("-4b", "13:20", True), ("-4b", "10:10", True), ("-5b", "15:00", True),
    ("-5b", "11:30", True), ("-5b", "16:45", True), ("-6b", "12:50", True), ("-6b", "14:25", True),
    ("-7b", "10:40", True), ("-7b", "13:35", True),
]  # fmt: skip

# A transitional care visit for the discharged patient of that number: status, start.
VISITS = {
    0: ("booked", "@+3bT10:20"), 4: ("booked", "@+2bT09:40"), 5: ("booked", "@+4bT13:00"), 7: ("booked", "@+1bT11:20"),
    10: ("booked", "@-35m"), 11: ("booked", "@+1bT14:40"), 12: ("noshow", "@-1bT10:00"), 13: ("booked", "@+2bT15:20"),
    14: ("cancelled", "@+1bT09:00"), 15: ("fulfilled", "@-1bT10:40"), 16: ("booked", "@+5bT11:00"),
    17: ("fulfilled", "@-3bT11:00"), 18: ("fulfilled", "@-4bT09:20"), 19: ("fulfilled", "@-2bT13:40"),
    20: ("fulfilled", "@-4bT15:00"), 21: ("noshow", "@-2bT14:00"),
}  # fmt: skip
NOTED = (15, 18, 20)
CAST = {"noshow": 10, "cancelled": 0, "documented": 17}

# Staff by program role: every one is a Synthea practitioner.
STAFF = (
    ("rn", "106292003", "Professional nurse"), ("rn", "106292003", "Professional nurse"),
    ("care-coordinator", "768820003", "Care coordinator"), ("care-coordinator", "768820003", "Care coordinator"),
    ("provider", "112247003", "Medical doctor"), ("provider", "112247003", "Medical doctor"),
    ("front-desk", "159561009", "Receptionist"), ("clinic-admin", "224609002", "Clinic administrator"),
    ("auditor", "", "Auditor"),
)  # fmt: skip


def main(folder: Path) -> None:
    """Choose the patients in `folder`, thin their records, add what the demo needs, and write the file."""
    charts = sorted((_chart(path) for path in sorted(folder.glob("*.json*"))), key=_rank)
    charts = [chart for chart in charts if _is_chosen(chart["Patient"][0])]
    shared: dict[str, dict[str, Any]] = {}
    resources: list[dict[str, Any]] = []
    people: list[dict[str, str]] = []
    kept = [_thin(chart, number, shared) for number, chart in enumerate(charts)]
    practitioners = sorted(
        (r for r in shared.values() if r["resourceType"] == "Practitioner"), key=lambda r: str(r["id"])
    )
    staff = practitioners[: len(STAFF)]
    for person, (role, code, display) in zip(staff, STAFF, strict=True):
        people.append(_person(person, role))
        resources.append(
            _role(person, role, code, display, next(r for r in shared.values() if r["resourceType"] == "Organization"))
        )
    for number, records in enumerate(kept):
        resources += records
        resources += _happenings(records[0], number, staff, records)
    cast = {name: kept[number][0]["id"] for name, number in CAST.items()}
    cast["discharged"], cast["urgent"] = kept[len(DISCHARGES)][0]["id"], kept[len(DISCHARGES) + 1][0]["id"]
    resources.append(_stay_in_progress(kept[len(DISCHARGES)][0], staff[4]))
    whole = {
        "people": people,
        "cast": cast,
        "resources": [*sorted(shared.values(), key=lambda r: (r["resourceType"], r["id"])), *resources],
    }
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    sys.stdout.write(f"{len(kept)} patients, {len(whole['resources'])} resources, {TARGET.stat().st_size} bytes\n")


def _chart(path: Path) -> dict[str, list[dict[str, Any]]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    bundle = json.loads(raw)
    names = {e["fullUrl"]: f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle["entry"]}
    chart: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in bundle["entry"]:
        chart[entry["resource"]["resourceType"]].append(_linked(entry["resource"], names))
    return chart


def _linked(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: names.get(v, v) if k == "reference" else _linked(v, names) for k, v in value.items()}
    return [_linked(v, names) for v in value] if isinstance(value, list) else value


def _is_chosen(patient: dict[str, Any]) -> bool:
    return "deceasedDateTime" not in patient and patient["birthDate"] < ADULT_BEFORE


def _rank(chart: dict[str, list[dict[str, Any]]]) -> tuple[bool, int, str]:
    """Those who were inpatients first, then by how many conditions are active."""
    inpatient = any(e["class"]["code"] == "IMP" for e in chart["Encounter"])
    return (not inpatient, -len(_active(chart)), str(chart["Patient"][0]["id"]))


def _active(chart: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [c for c in chart["Condition"] if c["clinicalStatus"]["coding"][0]["code"] == "active"]


def _thin(
    chart: dict[str, list[dict[str, Any]]], number: int, shared: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Patient, active plans and conditions, recent encounters, a few labs; the first is the Patient."""
    plans = [p for p in chart["CarePlan"] if p["status"] == "active"][:3]
    wanted = {ref["reference"] for plan in plans for ref in plan.get("addresses", [])}
    conditions = [c for c in chart["Condition"] if c in _active(chart)[:6] or f"Condition/{c['id']}" in wanted]
    encounters = sorted(chart["Encounter"], key=lambda e: str(e["period"]["start"]))[-3:]
    stays = [e for e in chart["Encounter"] if e["class"]["code"] == "IMP" and e not in encounters][-1:]
    labs = [max(found, key=lambda o: str(o["effectiveDateTime"])) for code in LABS
            if (found := [o for o in chart["Observation"] if o["code"]["coding"][0]["code"] == code])]  # fmt: skip
    chosen = [_patient(chart["Patient"][0], number), *conditions, *plans, *stays, *encounters, *labs]
    present = {f"{r['resourceType']}/{r['id']}" for r in chosen}
    for kind in ("Practitioner", "Organization"):
        for r in chart[kind]:
            if f"{kind}/{r['id']}" in json.dumps(encounters + stays):
                shared[f"{kind}/{r['id']}"] = _plain(r)
    present |= set(shared)
    latest = datetime.fromisoformat(encounters[-1]["period"]["start"]).astimezone(ZONE)
    gap = SHORTEST_GAP + number % 40
    return [_dated(_without_loose_ends(_plain(r), present), latest, gap) for r in chosen]


def _patient(patient: dict[str, Any], number: int) -> dict[str, Any]:
    kept = deepcopy(patient)
    kept["extension"] = [e for e in kept.get("extension", []) if "us-core" in e["url"]]
    record_number = next(i for i in kept["identifier"] if i.get("type", {}).get("coding", [{}])[0].get("code") == "MR")
    kept["identifier"] = [{**record_number, "value": str(410_000 + 137 * (number + 1))}]
    for name in kept["name"]:
        name["given"] = [re.sub(r"\d+", "", given) for given in name.get("given", [])]
        name["family"] = re.sub(r"\d+", "", name["family"])
    return kept


def _plain(resource: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in resource.items() if k not in {"text", "meta", "issued"}}
    return {"resourceType": kept.pop("resourceType"), "id": kept.pop("id"), "meta": {"tag": [TEST_DATA]}, **kept}


def _without_loose_ends(value: Any, present: set[str]) -> Any:
    """The same without references to records that were left out."""
    if isinstance(value, list):
        return [w for v in value if (w := _without_loose_ends(v, present)) not in ({}, [])]
    if not isinstance(value, dict):
        return value
    if value.get("reference", "") and value["reference"] not in present:
        return {}
    return {k: w for k, v in value.items() if (w := _without_loose_ends(v, present)) not in ({}, [])}


def _dated(value: Any, latest: datetime, gap: int) -> Any:
    """Moments as `@<days>T<local time>`, so that the last encounter lies `gap` days before the day the demo runs."""
    if isinstance(value, dict):
        return {k: v if k == "birthDate" else _dated(v, latest, gap) for k, v in value.items()}
    if isinstance(value, list):
        return [_dated(v, latest, gap) for v in value]
    if not isinstance(value, str) or not MOMENT.match(value):
        return value
    moment = datetime.fromisoformat(value)
    local = moment.astimezone(ZONE) if moment.tzinfo else moment.replace(tzinfo=UTC)
    days = min((local.date() - latest.date()).days - gap, -1)
    return f"@{days}T{local:%H:%M:%S}" if "T" in value else f"@{days}"


def _derived(resource_type: str, ident: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": resource_type, "id": ident, "meta": {"tag": [TEST_DATA, DERIVED]}, **content}


def _name(resource: dict[str, Any], *, title: bool = True) -> str:
    name = resource["name"][0]
    prefix = name.get("prefix", [])[:1] if title else []
    return " ".join([*prefix, *name.get("given", [])[:1], name["family"]])


def _to(resource: dict[str, Any], *, title: bool = True) -> dict[str, str]:
    return {"reference": f"{resource['resourceType']}/{resource['id']}", "display": _name(resource, title=title)}


def _person(person: dict[str, Any], role: str) -> dict[str, str]:
    if role != "provider":
        person["name"][0].pop("prefix", None)
    return {"id": person["id"], "name": _name(person), "role": role}


def _role(person: dict[str, Any], role: str, code: str, display: str, organization: dict[str, Any]) -> dict[str, Any]:
    return _derived(
        "PractitionerRole",
        f"role-{person['id']}",
        {
            "active": True,
            "practitioner": _to(person),
            "organization": {"reference": f"Organization/{organization['id']}", "display": organization["name"]},
            "code": [
                {"coding": [{"system": SNOMED, "code": code, "display": display}], "text": role.replace("-", " ")}
                if code
                else {"text": display}
            ],
        },
    )


def _happenings(
    patient: dict[str, Any], number: int, staff: list[dict[str, Any]], records: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What the demo adds to one patient: a care team, appointments, a recent stay and its documents."""
    nurse, coordinator, provider = staff[number % 2], staff[2 + number % 2], staff[4 + number % 2]
    added = [_care_team(patient, [nurse, coordinator, provider])]
    if number < len(DISCHARGES):
        day, clock, filed = DISCHARGES[number]
        added.append(_stay(patient, provider, records, f"@{day}T{clock}", length=2 + number % 4))
        if filed:
            added.append(
                _document(patient, provider, "summary", "18842-5", "Discharge summary", f"@{day}T18:30", "Stay")
            )
    if number in VISITS:
        added.append(_appointment(patient, provider, "tcm", *VISITS[number]))
    if number in NOTED:
        at = VISITS[number][1].replace("T10", "T16").replace("T09", "T16").replace("T15", "T17")
        added.append(_document(patient, provider, "note", "11506-3", "Progress note", at, "Visit"))
    if number >= len(DISCHARGES) + 2:
        added.append(
            _appointment(patient, provider, "check", "fulfilled", f"@-{SHORTEST_GAP + number % 40}T10:{number % 6}0")
        )
    if number >= len(DISCHARGES) + 2 and number % 3 == 0:
        added.append(
            _appointment(
                patient, provider, "next", "booked", f"@+{1 + number % 9}bT{9 + number % 7:02}:{number % 3 * 2}0"
            )
        )
    return added


def _care_team(patient: dict[str, Any], members: list[dict[str, Any]]) -> dict[str, Any]:
    return _derived(
        "CareTeam",
        f"team-{patient['id']}"[:64],
        {
            "status": "active",
            "name": "Primary care team",
            "subject": _to(patient, title=False),
            "participant": [{"member": _to(member)} for member in members],
        },
    )


def _stay(
    patient: dict[str, Any], provider: dict[str, Any], records: list[dict[str, Any]], end: str, length: int
) -> dict[str, Any]:
    """The newest inpatient stay moved to end at `end`; an ambulatory encounter's reason where there was none."""
    encounters = [r for r in records if r["resourceType"] == "Encounter"]
    model = next((e for e in encounters if e["class"]["code"] == "IMP"), encounters[-1])
    day, clock = end[1:].split("T")
    content = {
        "status": "finished",
        "class": {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": "IMP",
            "display": "inpatient encounter",
        },
        "type": [
            {
                "coding": [{"system": SNOMED, "code": "183452005", "display": "Encounter Inpatient"}],
                "text": "Inpatient stay",
            }
        ],
        "subject": _to(patient, title=False),
        "participant": [{"individual": _to(provider)}],
        "period": {"start": f"@{int(day[:-1]) - length}bT{clock}", "end": end},
        "reasonCode": model.get("reasonCode") or [_reason(records)],
        "hospitalization": {"dischargeDisposition": {"text": "Home"}},
    }
    return _derived("Encounter", f"stay-{patient['id']}", content)


def _reason(records: list[dict[str, Any]]) -> dict[str, Any]:
    conditions = [r for r in records if r["resourceType"] == "Condition"]
    return dict(conditions[0]["code"]) if conditions else {"text": "Observation after a fall"}


INPATIENT = {
    "class": {
        "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "code": "IMP",
        "display": "inpatient encounter",
    },
    "type": [
        {
            "coding": [{"system": SNOMED, "code": "183452005", "display": "Encounter Inpatient"}],
            "text": "Inpatient stay",
        }
    ],
}


def _stay_in_progress(patient: dict[str, Any], provider: dict[str, Any]) -> dict[str, Any]:
    return _derived(
        "Encounter",
        f"stay-{patient['id']}",
        {
            "status": "in-progress",
            **INPATIENT,
            "subject": _to(patient, title=False),
            "participant": [{"individual": _to(provider)}],
            "period": {"start": "@-3bT14:10"},
            "reasonCode": [
                {"coding": [{"system": SNOMED, "code": "233604007", "display": "Pneumonia"}], "text": "Pneumonia"}
            ],
        },
    )


def _document(
    patient: dict[str, Any], author: dict[str, Any], kind: str, code: str, title: str, at: str, about: str
) -> dict[str, Any]:
    body = f"{title} of a synthetic patient. {about}: see the encounter. Not a real record."
    return _derived(
        "DocumentReference",
        f"{kind}-{patient['id']}",
        {
            "status": "current",
            "docStatus": "final",
            "type": {"coding": [{"system": "http://loinc.org", "code": code, "display": title}], "text": title},
            "subject": _to(patient, title=False),
            "date": at,
            "author": [_to(author)],
            "content": [
                {
                    "attachment": {
                        "contentType": "text/plain",
                        "title": title,
                        "data": base64.b64encode(body.encode()).decode(),
                    }
                }
            ],
        },
    )


def _appointment(
    patient: dict[str, Any], provider: dict[str, Any], kind: str, status: str, start: str
) -> dict[str, Any]:
    visit = kind == "tcm"
    service = ("tcm-visit", "Transitional care visit") if visit else ("office-visit", "Office visit")
    end = f"@{int(start[1:-1]) + 30}m" if start.endswith("m") else _half_hour_later(start)
    return _derived(
        "Appointment",
        f"{kind}-{patient['id']}",
        {
            "status": status,
            "serviceType": [
                {
                    "coding": [
                        {
                            "system": "https://fhir-tracker.example/CodeSystem/service",
                            "code": service[0],
                            "display": service[1],
                        }
                    ],
                    "text": service[1],
                }
            ],
            "description": service[1],
            "start": start,
            "end": end,
            "minutesDuration": 30,
            "participant": [
                {"actor": _to(patient, title=False), "status": "accepted"},
                {"actor": _to(provider), "status": "accepted"},
            ],
        },
    )


def _half_hour_later(start: str) -> str:
    day, clock = start.split("T")
    minutes = int(clock[:2]) * 60 + int(clock[3:]) + 30
    return f"{day}T{minutes // 60:02}:{minutes % 60:02}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
