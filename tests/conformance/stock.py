"""What the search tables ask about: tasks, patients and observations with values at the edges of what FHIR allows."""

from __future__ import annotations

from typing import Any

from tests.conformance.talk import Corner

UCUM = "http://unitsofmeasure.org"


def coded(*pairs: str, text: str = "") -> dict[str, Any]:
    """A CodeableConcept of `system|code` codings; without a bar there is no system."""
    found: dict[str, Any] = {"coding": [_coding(one) for one in pairs]} if pairs else {}
    return found | ({"text": text} if text else {})


def task(corner: Corner, short: str, **members: Any) -> None:
    """Store a Task; status and intent are given unless named."""
    corner.put("Task", short, **({"status": "requested", "intent": "order"} | members))


def tokens(corner: Corner) -> Corner:
    """Tasks that differ in codes, identifiers and references."""
    task(corner, "a", code=coded("http://x|call"), identifier=[{"system": "http://ids", "value": "1"}])
    task(corner, "b", code=coded("http://y|call", "http://x|also"), identifier=[{"value": "1"}])
    task(corner, "c", code=coded("letter"), status="draft")
    task(corner, "d", code=coded("http://x|a,b|c$d\\e"), owner={"reference": "Practitioner/o1"})
    task(corner, "e", code=coded(text="call"), owner={"identifier": {"system": "http://npi", "value": "77"}})
    task(corner, "f", code=coded("http://x|CALL"), owner={"reference": "http://other.example/fhir/Practitioner/o1"})
    base = str(corner.client.base_url).rstrip("/")
    task(corner, "g", owner={"reference": f"{base}/Practitioner/o2"}, basedOn=[{"reference": "CarePlan/x"}])
    task(corner, "h", owner={"reference": "PractitionerRole/o1"}, basedOn=[{"reference": "ServiceRequest/x"}])
    return corner


def moments(corner: Corner) -> Corner:
    """Tasks whose authoredOn is a year, month, day, minute, second or fraction, and whose period is open or closed."""
    written = {
        "year": "2025",
        "month": "2025-03",
        "day": "2025-03-10",
        "second": "2025-03-10T12:00:00Z",
        "zone": "2025-03-10T23:30:00-05:00",
        "fraction": "2025-03-10T12:00:00.250Z",
    }
    for short, moment in written.items():
        task(corner, short, authoredOn=moment)
    spans = {
        "closed": {"start": "2025-03-01", "end": "2025-03-10"},
        "begun": {"start": "2025-03-05"},
        "until": {"end": "2025-03-05"},
        "whole": {"start": "2025-03-05", "end": "2025-03-05"},
    }
    for short, span in spans.items():
        task(corner, short, executionPeriod=span)
    task(corner, "none")
    return corner


def names(corner: Corner) -> Corner:
    """Patients whose names differ in case, accents, white space and wildcards."""
    for short, family in (
        ("plain", "Muller"),
        ("umlaut", "Müller"),
        ("upper", "MULLER"),
        ("tail", "Muller-Lee"),
        ("inside", "O'Muller"),
        ("percent", "100%"),
        ("underline", "a_b"),
        ("letter", "axb"),
        ("slash", "a\\b"),
        ("space", "van  der Berg"),
        ("comma", "Doe, Jr"),
        ("sharp", "Strauß"),
        ("kana", "山田"),
    ):
        corner.put("Patient", short, name=[{"family": family}])
    corner.put("Patient", "two", name=[{"family": "Ash"}, {"family": "Birch", "given": ["Cy"]}])
    corner.put("Patient", "nameless", active=True)
    return corner


def numbers(corner: Corner) -> Corner:
    """Observations with quantities of different precision and unit, and risks with probabilities."""
    for short, value, code in (
        ("five", 5, "mg"),
        ("five4", 5.4, "mg"),
        ("five44", 5.44, "mg"),
        ("gram", 5, "g"),
        ("hundred", 100, "mg"),
        ("minus", -3, "mg"),
    ):
        corner.put("Observation", short, **_measured({"value": value, "system": UCUM, "code": code, "unit": code}))
    corner.put("Observation", "less", **_measured({"value": 2, "comparator": "<", "system": UCUM, "code": "mg"}))
    corner.put("Observation", "bare", **_measured({"value": 7, "unit": "tablets"}))
    for short, chance in (("low", 0.1), ("lower", 0.05), ("high", 0.9)):
        risk = {
            "status": "final",
            "subject": {"reference": "Patient/p1"},
            "prediction": [{"probabilityDecimal": chance}],
        }
        corner.put("RiskAssessment", short, **risk)
    return corner


def _coding(text: str) -> dict[str, str]:
    system, bar, code = text.partition("|") if text.startswith("http") else ("", "", text)
    return {"system": system, "code": code} if bar else {"code": code}


def _measured(quantity: dict[str, Any]) -> dict[str, Any]:
    return {"status": "final", "code": {"text": "measured"}, "valueQuantity": quantity}
