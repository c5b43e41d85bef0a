"""Requests made to hurt, by chance and repeatable: hostile text in every part of an address, header, cookie, form and body."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

MARK: Final = "zqhostilezq"
"""Stands in every text that must never come back as markup."""
METHODS: Final = ("GET", "GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
SCRIPT: Final = f'"><script>{MARK}</script>'
TEXTS: Final[tuple[str, ...]] = (
    "", " ", "0", "-1", "1", "x1", "00", "9" * 25, "-" + "9" * 400, "1e400", "1e-400", "NaN", "Infinity", "0x1", "1_0",
    "٣", "９", "true", "null", "[]", "{}", "[" * 300, '{"a":' * 300, "%", "%s", "%zz", "%00", "\x00", "a\x00b",
    "\r\nX-Injected: 1", "\n", "\t", "\x1b[31m", "\x7f", "\ud800", "\udcff", "\ufeff", "\u202e" + MARK, "\u2028",
    "🦄" * 40, "e\u0301" * 30, "ß", "İ", "K", "'", "''", f"' OR '1'='1' --{MARK}", f"'); DROP TABLE resource; --{MARK}",
    "\\", "\\'", "%'", "_", "*", "$", "$$", ",", ",,,", "|", "||", "a|b|c", "|" * 300, "," * 300, "$" * 300, "&", "=",
    ";", ":", "::", "/", "//", "..", "../../etc/passwd", "..\\..\\", "%2e%2e%2f", "./.", "?", "#", "@", SCRIPT,
    f"<img src=x onerror={MARK}>", f"javascript:{MARK}", f"'-{MARK}-'", "{{7*7}}", "{%" + MARK + "%}", "${7*7}",
    "${jndi:ldap://x}", "__proto__", "constructor", "__class__.__mro__", "=1+1", "@SUM(A1)", "a" * 64, "a" * 65,
    "a" * 255, "a" * 256, "a" * 7_000, "a " * 2_000, "2026-02-30", "2026-13-01", "0000-01-01", "0001-01-01",
    "9999-12-31", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
    "2026-03-09T24:00:00Z", "2026-03-09T10:00:00+99:99", "2026-03-09T10:00", "2026", "26", "1900-02-29", "gt2026-03-09",
    "ap9999", "ge0001-01-01", "sa", "ne", "zz2026", "ap1e300", "lt-1e300", "1e99999", "gt" * 50, "Patient/rosa",
    "Patient/rosa/_history/1", "Patient/rosa/_history/99999999999999999999", "Patient/", "/rosa", "Patient/a/b",
    "Nope/1", "#contained", "urn:uuid:00000000-0000-0000-0000-000000000000", "urn:oid:1.2",
    "http://169.254.169.254/latest/meta-data", "https://evil.example/", "//evil.example", "/\\evil.example",
    "https:evil.example", "file:///etc/passwd", "http://[", "//[", "http://[::1", "http://x:99999/", "role/rn", "rn", "Practitioner/me",
    "requested", "completed", "reached", "late", "first-call", "ring", "phone", "no-answer", "no", "yes", "on",
    "eyJhbGciOiJub25lIn0.e30.", "Bearer", "W/\"1\"", "W/\"99999999999999999999\"", "W/", "*/*;q=2",
    "application/fhir+xml", "text/html", "utf-7",
)  # fmt: skip
FHIR_NAMES: Final = tuple(
    """
    _id _lastUpdated _tag _profile _security _source _text _content _list _has _type _filter _query _sort _count _include
    _revinclude _include:iterate _summary _elements _contained _containedType _total _format _pretty _since _at _offset _page
    _cursor _getpages _typeFilter access_token subject patient status code name birthdate identifier date performer focus
    part-of period business-status authored-on modified owner given:exact family:contains status:not subject:Patient
    subject:Patient.name patient._has:Task:patient:status _has:Task:patient:status code:in code:of-type code:text
    name:missing address-city phone start end programs measure periodStart periodEnd reportType practitioner mode profile
    lastReceivedOn resource url version
    """.split()
)
PAGE_NAMES: Final = tuple(
    """
    q patient sort page move back stage plan said do connection before after role owner status due from to who action outcome
    moved view program team kind csrf _method next redirect iss launch state code error error_description locale login_hint
    target_link_uri ref more show place shown
    """.split()
)
FIELD_NAMES: Final = tuple(
    """
    reason id name code way to scopes password note key back auth who version there subscribe subject source secret role
    reason.code poll page owner outreach.outcome outreach.channel minutes mapping label keys kept jwks_url jwks issuer
    invitation intents frame_ancestors do density client_type client_id base_url again token_url username reads_as_user
    hold.until due document output attempt roles search text until patients refs ids task confirm grant_type client_assertion
    client_assertion_type scope token token_type_hint state iss error
    """.split()
)
HEADERS: Final = tuple(
    """
    Accept Accept-Encoding Accept-Charset Accept-Language Content-Type Content-Encoding If-Match If-None-Match If-None-Exist
    If-Modified-Since Prefer X-Provenance X-Request-Id X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto Forwarded Origin
    Referer Sec-Fetch-Site Sec-Fetch-Mode User-Agent Range Expect HX-Request HX-Target X-Launch-Handle X-Hook-Secret Cookie
    Access-Control-Request-Method Access-Control-Request-Headers Last-Event-ID X-HTTP-Method-Override Upgrade TE Via
    """.split()
)
ORIGINS: Final = (b"null", b"http://testserver", b"http://[", b"//[", b"https://evil.example", b"http://x:99999", b"")
ATOMS: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1.5, 10**30, -(10**400), 1e308, "", [], {}, [None], [[]], {"": ""},
    {"resourceType": "Patient"}, {"reference": "#"}, {"extension": [{}]},
)  # fmt: skip


def wrapped(bodies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Bundles, Parameters and a patch around resources."""
    addresses = (
        "Task",
        "Task/x1",
        "Task?identifier=a|b",
        "Patient/rosa",
        "Patient/rosa/_history",
        "metadata",
        "Patient?name=x&_count=2",
    )
    made: list[Mapping[str, Any]] = []
    for kind in ("batch", "transaction"):
        entries: list[Mapping[str, Any]] = [{"request": {"method": "GET", "url": one}} for one in addresses]
        entries += [
            {
                "fullUrl": f"urn:uuid:0000000{number}",
                "resource": one,
                "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
            }
            for number, one in enumerate(bodies[:3])
        ]
        made.append({"resourceType": "Bundle", "type": kind, "entry": entries})
    task = {"name": "task", "valueReference": {"reference": "Task/x1"}}
    subject = {"name": "subject", "valueString": "Patient/rosa"}
    parameters = {"resourceType": "Parameters", "parameter": [task, subject, {"name": "reason", "valueString": "x"}]}
    return [*made, parameters]


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One request: `target` is the address as it goes over the wire, headers are bytes, for they need not be text."""

    method: str
    target: str
    headers: Mapping[str, bytes] = field(default_factory=dict)
    body: bytes = b""

    @property
    def name(self) -> str:
        """What names it in a failure."""
        return f"{self.method} {self.target[:300]} {dict(self.headers)} {self.body[:300]!r}"


class Hostile:
    """A source of requests; the same seed gives the same ones."""

    def __init__(self, seed: int, ids: Sequence[str], bodies: Sequence[Mapping[str, Any]]) -> None:
        self._chance = random.Random(seed)
        self._ids = ids
        self._bodies = bodies

    def request(self, method: str, template: str, base: Mapping[str, str] | None = None) -> Wire:
        """A request to one route; `base` holds fields that its form needs to be looked at."""
        target = self._path(template)
        names = FHIR_NAMES if template.startswith("/fhir") else PAGE_NAMES
        if self._often(0.7):
            target += "?" + self._pairs(names, self._chance.randint(1, 4))
        headers, body = self._headers(), b""
        if method in ("POST", "PUT", "PATCH", "DELETE") and self._often(0.9):
            kind, body = self._body(template, base or {})
            headers = {"Content-Type": kind.encode()} | headers
        return Wire(method=method, target=target, headers=headers, body=body)

    def text(self) -> str:
        """A hostile text; now and then two of them."""
        made = self._chance.choice(TEXTS)
        return made + self._chance.choice(TEXTS) if self._often(0.1) else made

    def _often(self, share: float) -> bool:
        return self._chance.random() < share

    def _path(self, template: str) -> str:
        parts = template.split("/")
        return "/".join(self._part(one) if "{" in one else one for one in parts)

    def _part(self, named: str) -> str:
        if named.startswith("{launch}"):
            return named
        if named == "{type}" and self._often(0.8):
            return str(self._chance.choice(self._bodies)["resourceType"])
        if self._often(0.6):
            return _quoted(self._chance.choice(self._ids).rpartition("/")[2], False)
        return _quoted(self.text()[:1_000], self._often(0.1))

    def _pairs(self, names: Sequence[str], count: int) -> str:
        made = []
        for _ in range(count):
            name = self._chance.choice(names) if self._often(0.93) else self.text()
            value = self._chance.choice(self._ids) if self._often(0.15) else self.text()
            made.append(f"{_quoted(name, False)}={_quoted(value, self._often(0.05))}")
        return "&".join(made)

    def _headers(self) -> dict[str, bytes]:
        made = {"Origin": self._chance.choice(ORIGINS)} if self._often(0.05) else {}
        for _ in range(self._chance.choice((0, 0, 1, 2))):
            raw = self.text().encode("utf-8", "surrogatepass")[:4_000]
            made[self._chance.choice(HEADERS)] = bytes(one for one in raw if one >= 32 and one != 127).strip()
        return made

    def _body(self, template: str, base: Mapping[str, str]) -> tuple[str, bytes]:
        if self._often(0.05):
            return self._chance.choice(
                ("text/plain", "multipart/form-data", "x", "application/json;charset=x")
            ), self.text().encode("utf-8", "surrogatepass")
        if not template.startswith("/fhir") or template.endswith("_search"):
            names = FHIR_NAMES if template.startswith("/fhir") else FIELD_NAMES
            more = self._pairs(names, self._chance.randint(0, 8))
            return "application/x-www-form-urlencoded", f"{urlencode(base)}&{more}".strip("&").encode()
        mangled = json.dumps(self._mangled(copy.deepcopy(self._chance.choice(self._bodies))))
        return "application/fhir+json", mangled.encode("utf-8", "surrogatepass")

    def _mangled(self, body: Any) -> Any:
        for _ in range(self._chance.randint(0, 3)):
            self._mangle(body)
        return body

    def _mangle(self, inside: Any) -> None:
        """Change one thing somewhere inside."""
        while isinstance(inside, dict | list) and inside:
            key = (
                self._chance.choice(sorted(inside)) if isinstance(inside, dict) else self._chance.randrange(len(inside))
            )
            if not isinstance(inside[key], dict | list) or not inside[key] or self._often(0.3):
                inside[key] = self.text() if self._often(0.6) else copy.deepcopy(self._chance.choice(ATOMS))
                return
            inside = inside[key]


def _quoted(text: str, raw: bool) -> str:
    """As an address has it; `raw` leaves percent signs that mean nothing."""
    made = quote(text.encode("utf-8", "surrogatepass"), safe="")
    return made.replace("%25", "%") if raw else made
