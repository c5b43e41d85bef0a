"""Values at the edges of what FHIR's primitive types allow, right ones and wrong ones: the two checkers judge which is which."""

from __future__ import annotations

from typing import Any

from fhir_tracker.fhir.json_types import Exact

_DATES = [
    "2026", "2026-02", "2026-02-28", "2024-02-29", "2026-02-29", "2026-02-30", "2026-13-01", "2026-00-10", "2026-1-1",
    "26-01-01", "0000-01-01", "0001-01-01", "9999-12-31", "1899-12-31", "12026-01-01", "2026/01/01", "01-02-2026",
    "2026-01-01 ", " 2026-01-01", "20260101", "2026-", "today", "", "2026-01-01T00:00:00Z",
]  # fmt: skip
_TIMES = [
    "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123Z", "2026-01-31T10:00:00.123456789+05:30", "2026-01-31T10:00:00-14:00",
    "2026-01-31T10:00:00+14:00", "2026-01-31T10:00:00+14:30", "2026-01-31T10:00:00+15:00", "2026-01-31T10:00:00-00:00",
    "2026-01-31T10:00:00", "2026-01-31T10:00Z", "2026-01-31T10:00", "2026-01-31T10Z", "2026-01-31T24:00:00Z",
    "2026-01-31T23:59:60Z", "2026-01-31T25:00:00Z", "2026-01-31T10:60:00Z", "2026-01-31T10:00:61Z", "2026-01-31 10:00:00Z",
    "2026-01-31t10:00:00z", "2026-01-31T10:00:00.Z", "2026-01-31T10:00:00+0500", "2026-02-30T10:00:00Z", "2026-01-31T",
    "1500-01-31T10:00:00Z",
]  # fmt: skip
_URIS = [
    "http://example.org/x", "urn:oid:1.2.3", "urn:oid:01.2.3", "urn:oid:3.2.1", "urn:uuid:00000000-0000-4000-8000-000000000000",
    "urn:uuid:00000000-0000-4000-8000-00000000000", "urn:uuid:0000ABCD-0000-4000-8000-000000000000", "urn:x", "x y", "x",
    "http://example.org/a b", " http://example.org", "http://example.org ", "http://", "http://example.org/{x}", "mailto:a@example.org",
    "http://example.org/x|1.0", "http://example.org/x#frag", "#frag", "", "Questionnaire/1", "http://example.org/é", "ftp://example.org/x",
    "http://example.org/x|", "|1.0", "urn:oid:1.2.3.", "tel:555", "http:/example.org", "HTTP://EXAMPLE.ORG/X", "http://example.org/%zz",
]  # fmt: skip
_TEXTS = [
    "", " ", "words", " words", "words ", "two\nlines", "a\ttab", "a\rreturn", "\u0001", "\u007f", "\u00a0", "\u200b", "\ufeff", "é😀",
    "<b>bold</b>", "<script>alert(1)</script>", "x" * 5000, "\u2028", "\u0085",
]  # fmt: skip
_CODES = [
    "x", "x y", "x  y", " x", "x ", "", "X", "x\ty", "x\ny", "x\u00a0y", "active", "Active", "completed", "final", "x" * 300,
]  # fmt: skip
_IDS = [
    "x", "x-1.A", "x" * 64, "x" * 65, "", "x_1", "x/1", "x y", "é", "#x", "1", "-", "..", "x\n",
]  # fmt: skip
_INTEGERS = [
    0, 1, -1, 2147483647, 2147483648, -2147483648, -2147483649, "1", Exact("1.0"), Exact("1e3"), Exact("1.5"), Exact("-0"), True, "",
    10**20,
]  # fmt: skip

EDGES: dict[str, list[Any]] = {
    "base64Binary": ["AAAA", "AAA=", "AA==", "AAA", "AA", "A===", "====", "AA\nAA", "AA AA", "", " ", "A-_A", "é", "AAAA=", "AAAAA"],
    "boolean": [True, False, "true", "True", 1, 0, "", "yes"],
    "canonical": _URIS,
    "code": _CODES,
    "date": [*_DATES, *_TIMES[:3]],
    "dateTime": [*_DATES, *_TIMES],
    "decimal": [
        0, 1, -1, Exact("1.0"), Exact("1.50"), Exact("1e3"), Exact("1E-3"), Exact("-0.0"), Exact("0.00000000000000000001"),
        Exact("123456789012345678901234567890"), Exact("1e300"), "1.0", "1", True, "", Exact("1.23456789012345678901"),
    ],
    "id": _IDS,
    "instant": [*_DATES[:4], *_TIMES],
    "integer": _INTEGERS,
    "markdown": _TEXTS,
    "oid": _URIS,
    "positiveInt": _INTEGERS,
    "string": _TEXTS,
    "time": [
        "10:00:00", "10:00", "24:00:00", "23:59:60", "10:00:00.5", "10:00:00Z", "1:00:00", "25:00:00", "10:61:00", "", "T10:00:00",
        "10:00:00+01:00",
    ],
    "unsignedInt": _INTEGERS,
    "uri": _URIS,
    "url": _URIS,
    "uuid": _URIS,
    "xhtml": ["", " "],
}  # fmt: skip

REFERENCES: list[dict[str, Any]] = [
    {"reference": "Patient/1"}, {"reference": "Patient/1/_history/2"}, {"reference": "Practitioner/x"}, {"reference": "Observation/x"},
    {"reference": "Organization/x"}, {"reference": "Basic/x"}, {"reference": "Nonsense/x"}, {"reference": "patient/1"},
    {"reference": "#missing"}, {"reference": "#"}, {"reference": "http://ehr.example/fhir/Patient/1"},
    {"reference": "http://ehr.example/fhir/Medication/1"}, {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"},
    {"reference": "urn:oid:1.2.3"}, {"reference": "not a reference"}, {"reference": "x"}, {"reference": "http://example.org/no-type"},
    {"reference": "Patient/" + "x" * 65}, {"reference": "Patient/a_b"}, {"reference": "Patient?identifier=x|y"}, {"reference": ""},
    {"reference": "/Patient/1"}, {"reference": "Patient/"}, {"reference": "../Patient/1"}, {"reference": "urn:uuid:nonsense"},
    {"display": "Somebody"}, {"identifier": {"value": "1"}}, {"type": "Patient"}, {"id": "x"}, {},
    {"type": "Patient", "reference": "Practitioner/1"}, {"type": "Nonsense", "reference": "Patient/1"},
    {"type": "Patient", "identifier": {"value": "1"}}, {"type": "Medication", "identifier": {"value": "1"}},
    {"type": "http://hl7.org/fhir/StructureDefinition/Patient", "display": "x"},
    {"extension": [{"url": "http://example.org/why", "valueString": "x"}]},
]  # fmt: skip

_XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
NARRATIVES: list[str] = [
    f"<div {_XHTML}>words</div>", f"<div {_XHTML}></div>", f"<div {_XHTML}> </div>", f"<div {_XHTML}/>", f"<div {_XHTML}><p/></div>",
    "<div>words</div>", f"<p {_XHTML}>words</p>", "words", f"<div {_XHTML}>words", f"<div {_XHTML}><b>words</div>",
    f"<div {_XHTML}><script>x</script>words</div>", f'<div {_XHTML}><b onclick="x()">words</b></div>',
    f'<div {_XHTML}><a href="javascript:x()">words</a></div>', f'<div {_XHTML}><a href="#x">words</a></div>',
    f'<div {_XHTML}><a href="http://example.org">words</a></div>', f'<div {_XHTML}><img src="http://example.org/x.png"/></div>',
    f'<div {_XHTML}><img src="#x" alt="words"/></div>', f'<div {_XHTML} style="color: red">words</div>',
    f"<div {_XHTML}><style>x</style>words</div>", f'<div {_XHTML}><iframe src="x"/>words</div>', f"<div {_XHTML}><form>words</form></div>",
    f"<div {_XHTML}><input/>words</div>", f"<div {_XHTML}><br/>words<br></br></div>", f"<div {_XHTML}><br>words</div>",
    f"<div {_XHTML}><table><tr><td>words</td></tr></table></div>", f'<div {_XHTML}><td colspan="2">words</td></div>',
    f"<div {_XHTML}><nonsense>words</nonsense></div>", f'<div {_XHTML}><p nonsense="1">words</p></div>',
    f"<div {_XHTML}>a &amp; b &lt; c &#160; &nbsp; &copy;</div>", f"<div {_XHTML}>a & b</div>", f"<div {_XHTML}>a &nonsense; b</div>",
    f"<div {_XHTML}><!-- a comment -->words</div>", f"<div {_XHTML}><![CDATA[words]]></div>", f"<?xml version='1.0'?><div {_XHTML}>x</div>",
    f"<!DOCTYPE html><div {_XHTML}>words</div>", f"<div {_XHTML}><DIV>words</DIV></div>",
    f'<div {_XHTML} class="a" id="b" title="c" lang="en" xml:lang="en">x</div>',
    f"<div {_XHTML}><h1>words</h1><ul><li>x</li></ul><pre>x</pre><blockquote>q</blockquote></div>", f"<div {_XHTML}>words</div> more",
    f"<div {_XHTML}>words</div><div {_XHTML}>more</div>", f" <div {_XHTML}>words</div> ", f"<div {_XHTML}><svg/>words</div>",
    f"<div {_XHTML}><video/>words</div>", f'<div {_XHTML}><a name="x">words</a></div>', f"<div {_XHTML}><font>words</font></div>",
    '<div xmlns="http://example.org/other">words</div>', '<x:div xmlns:x="http://www.w3.org/1999/xhtml">words</x:div>',
    f'<div {_XHTML}><p style="background: url(javascript:x)">words</p></div>', f"<div {_XHTML}><img/></div>",
]  # fmt: skip

SYSTEMS = [
    "http://snomed.info/sct", "http://loinc.org", "http://hl7.org/fhir/task-status", "http://hl7.org/fhir/request-status",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode", "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "not absolute",
    "http://terminology.hl7.org/CodeSystem/observation-category", "http://example.org/codes", "urn:oid:2.16.840.1.113883.6.1", "x",
    "http://unitsofmeasure.org", "http://hl7.org/fhir/nonsense", "http://terminology.hl7.org/CodeSystem/nonsense", "urn:ietf:bcp:47",
    "http://hl7.org/fhir/ValueSet/task-status", "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/icd-10-cm",
]  # fmt: skip

UNITS = [
    "mg", "kg", "g", "mL", "ml", "L", "d", "wk", "mo", "a", "h", "min", "s", "ms", "mm[Hg]", "%", "kg/m2", "/min", "{beats}/min", "1",
    "mg/dL", "mmol/L", "10*3/uL", "[degF]", "Cel", "[in_i]", "[lb_av]", "[iU]/L", "U/L", "{tbl}", "10*9/L", "ug/mL", "mEq/L", "mm", "cm",
    "tablet", "tablets", "mcg", "hours", "days", "MG", "Kg", "mg/", "mg//dL", "/", "mg/dl", "IU", "lbs", "F", "C", "mmHg", "percent",
    "mg mL", "", "{", "{x", "m[Hg", "10^3/uL", "kg.m-2", "kg*m", "(mg)/dL", "m2", "m-2", "2mg", "mg2.5", "year", "yr", "month", "each",
    "ea",
    "%{vol}", "{score}", "nmol/mL/h", "mL/min/{1.73_m2}", "[pH]", "dB", "B[SPL]", "kPa", "k[IU]/L", "uU/mL", "ppm", "[ppm]", "meq", "cc",
]  # fmt: skip

MIME_TYPES = [
    "text/plain", "application/fhir+json", "text/plain; charset=utf-8", "application/fhir+json;fhirVersion=4.0", "image/jpeg", "jpeg",
    "text", "text/", "/plain", "text plain", "x/y", "application/pdf ", "", "TEXT/PLAIN", "*/*", "text/html;q=1;x", "pdf",
]  # fmt: skip

VITAL_CODES = [
    "85353-1", "9279-1", "8867-4", "2708-6", "59408-5", "8310-5", "8302-2", "9843-4", "29463-7", "3141-9", "39156-5", "85354-9", "8480-6",
    "8462-4", "8306-3", "8287-5", "718-7", "72166-2",
]  # fmt: skip

VITAL_PROFILES = [
    "vitalsigns", "vitalsigns", "bodyweight", "bodyheight", "bmi", "bp", "heartrate", "resprate", "bodytemp", "oxygensat", "headcircum",
    "vitalspanel",
]  # fmt: skip

_R4 = "http://hl7.org/fhir/StructureDefinition/"
EXTENSIONS: list[dict[str, Any]] = [
    {"url": "http://example.org/x", "valueString": "x"}, {"valueString": "x"}, {"url": ""}, {"url": "x", "valueString": "x"},
    {"url": "http://example.org/x"}, {"url": "http://example.org/x", "valueString": "x", "valueCode": "x"}, {},
    {"url": "http://example.org/x", "valueString": "x", "extension": [{"url": "y", "valueString": "y"}]},
    {"url": "http://example.org/x", "extension": [{"url": "y", "valueString": "y"}]},
    {"url": "http://example.org/x", "extension": [{"url": "y"}]}, {"url": "http://example.org/x", "extension": []},
    {"url": "http://example.org/x", "valueNonsense": "x"}, {"url": "http://example.org/x", "value": "x"},
    {"url": "http://example.org/x", "valueCodeableConcept": {"coding": [{"system": "x"}]}},
    {"url": "http://example.org/x", "valueBoolean": "true"},
    {"url": "http://example.org/x", "valuePeriod": {"start": "2026-02-01", "end": "2026-01-01"}},
    {"url": "http://example.org/x", "valueReference": {"reference": "#none"}}, {"url": ["http://example.org/x"], "valueString": "x"},
    {"url": "http://example.org/x y", "valueString": "x"}, {"url": "http://example.org/x", "valueDate": "2026-02-30"},
    {"url": "http://example.org/x", "valueDecimal": "1.0"}, {"url": "http://example.org/x", "valueExtension": {"url": "x"}},
    {"url": "http://example.org/x", "valueQuantity": {"value": 1, "code": "mg"}}, {"url": "urn:oid:1.2.3", "valueString": "x"},
    {"url": f"{_R4}nonsense", "valueString": "x"}, {"url": "http://hl7.org/fhir/nonsense", "valueString": "x"},
    {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": [{"url": "text", "valueString": "x"}]},
    {"url": f"{_R4}data-absent-reason", "valueCode": "unknown"}, {"url": f"{_R4}data-absent-reason", "valueCode": "nonsense"},
    {"url": f"{_R4}data-absent-reason", "valueString": "unknown"}, {"url": f"{_R4}patient-birthPlace", "valueAddress": {"text": "x"}},
    {"url": f"{_R4}patient-birthTime", "valueDateTime": "2026-01-01T10:00:00Z"},
    {"url": f"{_R4}patient-mothersMaidenName", "valueString": "x"},
    {"url": f"{_R4}iso21090-nullFlavor", "valueCode": "UNK"}, {"url": f"{_R4}rendered-value", "valueString": "x"},
    {"url": f"{_R4}task-replaces", "valueReference": {"display": "x"}},
    {"url": f"{_R4}workflow-reasonCode", "valueCodeableConcept": {"text": "x"}},
    {"url": f"{_R4}translation", "extension": [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": "x"}]},
    {"url": f"{_R4}translation", "extension": [{"url": "lang", "valueCode": "en"}]},
    {"url": f"{_R4}translation", "extension": [{"url": "nonsense", "valueCode": "en"}, {"url": "content", "valueString": "x"}]},
    {"url": f"{_R4}patient-nationality", "extension": [{"url": "code", "valueCodeableConcept": {"text": "x"}}]},
    {"url": f"{_R4}humanname-own-prefix", "valueString": "x"}, {"url": f"{_R4}questionnaire-hidden", "valueBoolean": True},
    {"url": f"{_R4}ordinalValue", "valueDecimal": 1}, {"url": f"{_R4}careplan-activity-title", "valueString": "x"},
    {"url": f"{_R4}goal-reasonRejected", "valueCodeableConcept": {"text": "x"}},
    {"url": f"{_R4}request-statusReason", "valueCodeableConcept": {"text": "x"}},
    {"url": f"{_R4}observation-bodyPosition", "valueCodeableConcept": {"text": "x"}},
    {"url": f"{_R4}geolocation", "extension": [{"url": "latitude", "valueDecimal": 1}]},
    {"url": f"{_R4}flag-priority", "valueCodeableConcept": {"text": "x"}},
    {"url": f"{_R4}event-performerFunction", "valueCodeableConcept": {"text": "x"}},
]  # fmt: skip

_FULL = '"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001"'
_PUT = '"request": {"method": "PUT", "url": "TYPE/1"}'
BUNDLES: list[str] = [
    '{"resourceType": "Bundle", ' + text + "}"
    for text in (
        '"type": "collection", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "collection", "entry": [{"resource": RESOURCE}]',
        '"type": "collection", "entry": [{' + _FULL + ', "resource": RESOURCE}, {' + _FULL + ', "resource": RESOURCE}]',
        '"type": "collection", "total": 1, "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "collection", "entry": [{' + _FULL + ', "resource": RESOURCE, ' + _PUT + "}]",
        '"type": "collection", "entry": [{' + _FULL + "}]",
        '"type": "collection", "entry": []',
        '"type": "collection", "entry": [{}]',
        '"type": "nonsense", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "transaction", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "transaction", "entry": [{"resource": RESOURCE, ' + _PUT + "}]",
        '"type": "transaction", "entry": [{"resource": RESOURCE, "request": {"method": "PUT"}}]',
        '"type": "transaction", "entry": [{"resource": RESOURCE, "request": {"url": "TYPE"}}]',
        '"type": "transaction", "entry": [{"resource": RESOURCE, "request": {"method": "put", "url": "TYPE"}}]',
        '"type": "transaction", "entry": [{"request": {"method": "DELETE", "url": "TYPE/1"}}]',
        '"type": "batch", "entry": [{"resource": RESOURCE, ' + _PUT + ', "response": {"status": "200"}}]',
        '"type": "searchset", "total": 1, "entry": [{' + _FULL + ', "resource": RESOURCE, "search": {"mode": "match"}}]',
        '"type": "searchset", "entry": [{' + _FULL + ', "resource": RESOURCE, "search": {"mode": "nonsense"}}]',
        '"type": "collection", "entry": [{' + _FULL + ', "resource": RESOURCE, "search": {"mode": "match"}}]',
        '"type": "history", "entry": [{' + _FULL + ', "resource": RESOURCE, ' + _PUT + ', "response": {"status": "200"}}]',
        '"type": "history", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "document", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "message", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
        '"type": "transaction-response", "entry": [{"response": {"status": "201"}}]',
        '"type": "batch-response", "entry": [{' + _FULL + ', "resource": RESOURCE, "response": {"location": "x"}}]',
        '"type": "searchset", "link": [{"relation": "self", "url": "urn:x:1"}, {"relation": "self", "url": "urn:x:1"}]',
        '"type": "collection", "entry": [{"fullUrl": "TYPE/1", "resource": RESOURCE}]',
        '"type": "collection", "entry": [{"fullUrl": "http://example.org/TYPE/other/_history/1", "resource": RESOURCE}]',
        '"type": "collection", "entry": [{"fullUrl": "http://example.org/Nonsense/1", "resource": RESOURCE}]',
        '"type": "collection", "entry": [{' + _FULL + ', "resource": [RESOURCE]}]',
        '"type": "collection", "timestamp": "2026-01-01", "entry": [{' + _FULL + ', "resource": RESOURCE}]',
    )
]  # fmt: skip
