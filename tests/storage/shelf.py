"""Random synthetic resources and random filters over them, each with what it means for a body: the naive side of search tests."""

from __future__ import annotations

import random
import unicodedata
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker.storage.database import Database
from tests.storage.samples import NOW, patient_of, put

Body = Mapping[str, Any]
SYSTEMS = ("http://x", "http://y", None)
CODES = ("call", "letter", "visit", "a b")
PEOPLE = ("ann", "bob", "cyd")
FAMILIES = ("Müller", "muller-lee", "Möller", "O'Neil", "100%", "a_b", "Zoë", "Étienne")
DATES = (
    "2025", "2026", "2026-03", "2026-04", "2026-03-01", "2026-03-02", "2026-03-31", "2026-03-01T10:00:00Z",
    "2026-03-01T23:59:59Z", "2026-03-02T01:00:00+02:00", "2024-02-29", "2026-12-31T23:59:59-05:00",
)  # fmt: skip
PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
AMOUNTS = ("90", "90.2", "120", "121", "140.7", "-3", "0", "1000")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One filter of a query and what it means for a body."""

    text: str
    fits: Callable[[Body], bool]


def coded(chance: random.Random) -> dict[str, Any]:
    codings = []
    for _ in range(chance.randint(1, 2)):
        system = chance.choice(SYSTEMS)
        codings.append({"code": chance.choice(CODES)} | ({"system": system} if system else {}))
    return {"coding": codings}


def some_task(chance: random.Random, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = {"resourceType": "Task", "id": id_, "intent": chance.choice(("order", "plan"))}
    body["status"] = chance.choice(("requested", "completed", "on-hold"))
    body["for"] = {"reference": f"Patient/{chance.choice(PEOPLE)}"}
    if chance.random() < 0.7:
        body["code"] = coded(chance)
    if chance.random() < 0.5:
        body["owner"] = {"reference": f"Practitioner/{chance.choice(('p1', 'p2'))}"}
    if chance.random() < 0.7:
        body["authoredOn"] = chance.choice(DATES)
    if chance.random() < 0.4:
        body["identifier"] = [{"system": "http://ids", "value": str(chance.randint(1, 5))}]
    return body


def some_observation(chance: random.Random, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = {"resourceType": "Observation", "id": id_, "status": "final", "code": coded(chance)}
    body["subject"] = {"reference": f"Patient/{chance.choice(PEOPLE)}"}
    if chance.random() < 0.8:
        unit = chance.choice(("mmHg", "kg"))
        amount = chance.choice(AMOUNTS)
        number = float(amount) if "." in amount else int(amount)
        body["valueQuantity"] = {"value": number, "unit": unit, "system": "http://u", "code": unit}
    return body


def some_patient(chance: random.Random, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = {"resourceType": "Patient", "id": id_}
    if chance.random() < 0.9:
        body["name"] = [{"family": chance.choice(FAMILIES), "given": [chance.choice(("Ann", "Zoë", "bo"))]}]
    if chance.random() < 0.7:
        body["birthDate"] = chance.choice([one for one in DATES if "T" not in one])
    return body


def some_sequence(chance: random.Random, id_: str) -> dict[str, Any]:
    body: dict[str, Any] = {"resourceType": "MolecularSequence", "id": id_, "coordinateSystem": 0}
    if chance.random() < 0.8:
        start = chance.randint(0, 30)
        body["referenceSeq"] = {"chromosome": coded(chance), "windowStart": start}
        if chance.random() < 0.9:
            body["referenceSeq"]["windowEnd"] = start + chance.randint(0, 10)
    spans = [(start, start + chance.randint(0, 10)) for start in chance.sample(range(30), chance.randint(0, 3))]
    if spans:
        body["variant"] = [{"start": start, "end": end} for start, end in spans]
    return body


MAKERS = {
    "Task": some_task,
    "Observation": some_observation,
    "Patient": some_patient,
    "MolecularSequence": some_sequence,
}


def codings_of(body: Body, path: str) -> list[tuple[str | None, str]]:
    return [(one.get("system"), one["code"]) for one in (body.get(path) or {}).get("coding", [])]


def token(chance: random.Random, param: str, path: str) -> Asked:
    wanted: list[tuple[str, Callable[[str | None, str], bool]]] = []
    for _ in range(chance.randint(1, 2)):
        system, code = chance.choice(SYSTEMS[:2]), chance.choice(CODES)
        wanted.append(
            chance.choice(
                (
                    (code, lambda s, c, code=code: c == code),
                    (f"{system}|{code}", lambda s, c, code=code, system=system: (s, c) == (system, code)),
                    (f"|{code}", lambda s, c, code=code: s is None and c == code),
                    (f"{system}|", lambda s, c, system=system: s == system),
                )
            )
        )
    text = ",".join(one for one, _ in wanted)

    def has(body: Body) -> bool:
        return any(test(*coding) for coding in codings_of(body, path) for _, test in wanted)

    if chance.random() < 0.25:
        return Asked(text=f"{param}:not={text}", fits=lambda body: not has(body))
    return Asked(text=f"{param}={text}", fits=has)


def missing(param: str, path: str, chance: random.Random) -> Asked:
    wanted = chance.random() < 0.5
    return Asked(text=f"{param}:missing={str(wanted).lower()}", fits=lambda body: (path not in body) is wanted)


def plain(chance: random.Random, param: str, path: str, values: Sequence[str]) -> Asked:
    some = chance.sample(list(values), chance.randint(1, 2))
    if chance.random() < 0.3:
        return Asked(text=f"{param}:not={','.join(some)}", fits=lambda body: body.get(path) not in some)
    return Asked(text=f"{param}={','.join(some)}", fits=lambda body: body.get(path) in some)


def reference(chance: random.Random, param: str, path: str, type_: str, ids: Sequence[str]) -> Asked:
    id_ = chance.choice(ids)
    spelled = chance.choice((id_, f"{type_}/{id_}", f"http://here/fhir/{type_}/{id_}"))
    return Asked(
        text=f"{param}={spelled}", fits=lambda body: (body.get(path) or {}).get("reference") == f"{type_}/{id_}"
    )


def span_of(text: str) -> tuple[datetime, datetime]:
    """The half-open span that a date of any precision covers."""
    if "T" in text:
        start = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return start, start + timedelta(seconds=1)
    parts = [int(one) for one in text.split("-")]
    year, month, day = (*parts, 1, 1)[:3]
    start = datetime(year, month, day, tzinfo=UTC)
    if len(parts) == 1:
        return start, start.replace(year=year + 1)
    return start, start + timedelta(days=monthrange(year, month)[1] if len(parts) == 2 else 1)


def date(chance: random.Random, param: str, path: str, dates: Sequence[str]) -> Asked:
    prefix, text = chance.choice(PREFIXES), chance.choice(dates)
    low, high = span_of(text)

    def fits(body: Body) -> bool:
        if path not in body:
            return False
        start, end = span_of(body[path])
        equal = low <= start and end <= high
        answers = {
            "": equal, "eq": equal, "ne": not equal, "gt": end > high, "lt": start < low, "ge": end > high or equal,
            "le": start < low or equal, "sa": start >= high, "eb": end <= low,
        }  # fmt: skip
        return answers[prefix]

    return Asked(text=f"{param}={prefix}{text}", fits=fits)


def folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(one for one in decomposed if not unicodedata.combining(one)).casefold()


def string(chance: random.Random, param: str, names: Callable[[Body], Iterable[str]]) -> Asked:
    text = chance.choice((*FAMILIES, "mul", "M", "ö", "%", "_", "lee", "zo", "neil"))
    modifier = chance.choice(("", ":exact", ":contains"))
    tests: dict[str, Callable[[str], bool]] = {
        "": lambda name: folded(name).startswith(folded(text)),
        ":exact": lambda name: name == text,
        ":contains": lambda name: folded(text) in folded(name),
    }
    return Asked(text=f"{param}{modifier}={text}", fits=lambda body: any(map(tests[modifier], names(body))))


def quantity(chance: random.Random) -> Asked:
    prefix, text = chance.choice(("", "gt", "lt", "ge", "le", "ne")), chance.choice(AMOUNTS)
    unit = chance.choice((None, "mmHg", "kg"))
    value = float(text)
    half = 0.05 if "." in text else 0.5

    def fits(body: Body) -> bool:
        amount = body.get("valueQuantity")
        if amount is None or (unit is not None and amount["unit"] != unit):
            return False
        number = float(amount["value"])
        equal = value - half <= number < value + half
        answers = {
            "": equal, "ne": not equal, "gt": number > value, "lt": number < value, "ge": number >= value,
            "le": number <= value,
        }  # fmt: skip
        return answers[prefix]

    return Asked(text=f"value-quantity={prefix}{text}" + (f"||{unit}" if unit else ""), fits=fits)


def spans_of(body: Body, param: str) -> list[tuple[int, int]]:
    """The coordinates of the window or of the variants, whichever the parameter is about."""
    if "variant" in param:
        return [(one["start"], one["end"]) for one in body.get("variant", [])]
    referred = body.get("referenceSeq", {})
    return [(referred["windowStart"], referred["windowEnd"])] if "windowEnd" in referred else []


def coordinates(chance: random.Random, param: str) -> Asked:
    """A code of the chromosome with two numbers that hold of the window, or of one and the same variant."""
    if chance.random() < 0.2:
        return Asked(
            text=f"{param}:missing=true", fits=lambda body: "referenceSeq" not in body or not spans_of(body, param)
        )
    code = chance.choice(CODES)
    limits = [(chance.choice(("", "gt", "lt", "ge", "le", "ne", "sa", "eb")), chance.randint(0, 40)) for _ in range(2)]

    def fits(body: Body) -> bool:
        referred = body.get("referenceSeq", {})
        here = any(held == code for _, held in codings_of(referred, "chromosome"))
        return here and any(all(map(_compares, limits, span)) for span in spans_of(body, param))

    text = "$".join([code, *(f"{prefix}{number}" for prefix, number in limits)])
    return Asked(text=f"{param}={text}", fits=fits)


def _compares(limit: tuple[str, int], number: int) -> bool:
    prefix, value = limit
    answers = {
        "": number == value, "ne": number != value, "gt": number > value, "lt": number < value, "ge": number >= value,
        "le": number <= value, "sa": number > value, "eb": number < value,
    }  # fmt: skip
    return answers[prefix]


def given_and_family(body: Body) -> list[str]:
    return [text for name in body.get("name", []) for text in (name["family"], *name["given"])]


def filters(chance: random.Random, type_: str) -> Asked:
    """One random filter of a type."""
    ids = [f"{type_.lower()}{number}" for number in range(12)]
    choices: dict[str, list[Callable[[], Asked]]] = {
        "Task": [
            lambda: token(chance, "code", "code"),
            lambda: plain(chance, "status", "status", ("requested", "completed", "on-hold")),
            lambda: plain(chance, "intent", "intent", ("order", "plan", "filler")),
            lambda: reference(chance, "patient", "for", "Patient", PEOPLE),
            lambda: reference(chance, "subject", "for", "Patient", PEOPLE),
            lambda: reference(chance, "owner", "owner", "Practitioner", ("p1", "p2", "p3")),
            lambda: date(chance, "authored-on", "authoredOn", DATES),
            lambda: missing("code", "code", chance),
            lambda: missing("owner", "owner", chance),
            lambda: missing("authored-on", "authoredOn", chance),
            lambda: missing("identifier", "identifier", chance),
        ],
        "Observation": [
            lambda: token(chance, "code", "code"),
            lambda: reference(chance, "patient", "subject", "Patient", PEOPLE),
            lambda: quantity(chance),
            lambda: missing("value-quantity", "valueQuantity", chance),
        ],
        "Patient": [
            lambda: string(chance, "family", lambda body: [one["family"] for one in body.get("name", [])]),
            lambda: string(chance, "name", given_and_family),
            lambda: date(chance, "birthdate", "birthDate", [one for one in DATES if "T" not in one]),
            lambda: missing("name", "name", chance),
            lambda: missing("birthdate", "birthDate", chance),
        ],
        "MolecularSequence": [
            lambda: coordinates(chance, "chromosome-window-coordinate"),
            lambda: coordinates(chance, "chromosome-variant-coordinate"),
        ],
    }
    some = chance.sample(ids, 5)
    by_id = Asked(text=f"_id={','.join(some)}", fits=lambda body: body["id"] in some)
    makers = choices[type_]
    return by_id if chance.random() < 1 / len(makers) else chance.choice(makers)()


class Shelf:
    """What is stored, as bodies."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.bodies: dict[tuple[str, str], dict[str, Any]] = {}
        self.versions: dict[tuple[str, str], int] = {}

    def write(self, database: Database, count: int) -> None:
        """Create, change and delete some resources."""
        with database.begin() as tx:
            for _ in range(count):
                type_ = self.chance.choice(list(MAKERS))
                key = (type_, f"{type_.lower()}{self.chance.randint(0, 30)}")
                version = self.versions.get(key, 0) + 1
                body = MAKERS[type_](self.chance, key[1])
                gone = version > 1 and self.chance.random() < 0.15 and key in self.bodies
                moment = NOW + timedelta(minutes=len(self.versions) + version)
                put(tx, body, version, updated_at=moment, **({"op": "delete"} if gone else {}))
                self.versions[key] = version
                if gone:
                    del self.bodies[key]
                else:
                    self.bodies[key] = body

    def fitting(self, type_: str, asked: Sequence[Asked], patient: str | None = None) -> list[str]:
        return sorted(
            id_
            for (kind, id_), body in self.bodies.items()
            if kind == type_
            and (patient is None or patient_of(body) == patient)
            and all(one.fits(body) for one in asked)
        )
