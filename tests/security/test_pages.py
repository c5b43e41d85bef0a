"""The pages against other sites and against what is written in resources.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest

from tests.conformance.server import Tracker
from tests.conformance.talk import JSON, created

SCRIPT = "<script>alert('x')</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
STEPS = ["claim", "release", "assign", "move", "attempt", "note", "acknowledge", "take-over", "send-back", "resolve"]


@pytest.fixture
def browser(one_tracker: Tracker) -> Iterator[httpx.Client]:
    """A client that keeps cookies and has seen the queue; a task and a patient full of markup are there."""
    with httpx.Client(base_url=one_tracker.url, timeout=60, trust_env=False) as client:
        patient = {"resourceType": "Patient", "id": "markup", "name": [{"family": SCRIPT, "given": [IMAGE]}]}
        task = {
            "resourceType": "Task",
            "id": "markup",
            "status": "requested",
            "intent": "order",
            "description": f"{SCRIPT}{IMAGE}{{{{7*7}}}}",
            "code": {"text": SCRIPT},
            "for": {"reference": "Patient/markup", "display": IMAGE},
            "note": [{"text": SCRIPT}],
            "performerType": [{"coding": [{"code": "rn"}], "text": IMAGE}],
        }
        for one in (patient, task):
            created(client.put(f"/fhir/{one['resourceType']}/{one['id']}", content=json.dumps(one), headers=JSON))
        assert client.get("/").status_code == 200
        yield client


class Watcher(HTMLParser):
    """Notes what a page could run or load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        for name, value in attrs:
            text = (value or "").strip().lower()
            leads = name in ("href", "src", "action", "formaction", "srcset", "xlink:href")
            if name.startswith("on") or name == "style" or (leads and not text.startswith(("/", "#", "?")) and text):
                self.found.append(f"{tag} {name}={value}")
            if leads and (text.startswith(("//", "/\\"))):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("iframe", "object", "embed", "base", "img") or (tag == "script" and not dict(attrs).get("src")):
            self.found.append(tag)

    def handle_data(self, data: str) -> None:
        if self.inside == "script" and data.strip():
            self.found.append(f"script: {data.strip()[:80]}")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""


def active_parts(page: str) -> list[str]:
    """What of a page could run or load from elsewhere."""
    watcher = Watcher()
    watcher.feed(page)
    return watcher.found


def token(browser: httpx.Client) -> str:
    found = re.search(r'name="csrf"\s+value="([^"]+)"', browser.get("/tasks/markup").text)
    assert found is not None
    return found[1]


@pytest.mark.security("S22")
@pytest.mark.parametrize("step", STEPS)
def test_a_form_from_elsewhere_is_refused_whatever_it_asks_for(browser: httpx.Client, step: str) -> None:
    before = browser.get("/fhir/Task/markup").headers["etag"]
    mine = token(browser)
    forgeries: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"note": "x"}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": mine}, {"Origin": "https://evil.example"}),
        ({"csrf": mine}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": mine}, {"Sec-Fetch-Site": "same-site"}),
        ({"csrf": mine}, {"Origin": "null"}),
        ({"csrf": mine}, {"Cookie": ""}),
        ({"csrf": mine}, {"Cookie": "tracker_session=e30.x"}),
    ]
    for form, headers in forgeries:
        answer = browser.post(f"/tasks/markup/{step}", data=form, headers=headers)
        assert answer.status_code == 403, (form, headers, answer.status_code)
    assert browser.get("/fhir/Task/markup").headers["etag"] == before


@pytest.mark.security("S22")
def test_a_form_of_ours_is_taken_once_it_is_sent_from_our_page(browser: httpx.Client) -> None:
    form = {"csrf": token(browser), "note": "A plain note", "text": "A plain note"}
    answer = browser.post("/tasks/markup/note", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code in (200, 303), answer.text[:300]


@pytest.mark.security("S22", "S34")
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_a_form_of_another_kind_is_refused(browser: httpx.Client, content_type: str) -> None:
    body = f"csrf={token(browser)}&note=x"
    answer = browser.post("/tasks/markup/note", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 415


@pytest.mark.security("S34")
@pytest.mark.parametrize("body", [b"a" * 100_000, b"&".join([b"a=b"] * 500), b"note=%ff%fe", b"note=%00", b"\xff\xfe"])
def test_a_hostile_form_is_refused_and_never_a_mistake_of_ours(browser: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = browser.post("/tasks/markup/note", content=f"csrf={token(browser)}&".encode() + body, headers=headers)
    assert answer.status_code in (400, 413)
    assert "Traceback" not in answer.text


@pytest.mark.security("S24", "S25", "S37")
@pytest.mark.parametrize("path", ["/", "/?role=rn", "/tasks/markup", "/patients/markup", "/operations"])
def test_what_resources_say_is_text_on_every_page(browser: httpx.Client, path: str) -> None:
    page = browser.get(path)
    assert page.status_code == 200
    assert active_parts(page.text) == []
    assert SCRIPT not in page.text
    assert "<img src=x" not in page.text
    assert "onerror=alert(1)&gt;49" not in page.text


@pytest.mark.security("S25")
@pytest.mark.parametrize(
    "path",
    [
        "/?role={}",
        "/?q={}",
        "/?sort={}",
        "/?said={}",
        "/tasks/{}",
        "/patients/{}",
        "/tasks/markup?back={}",
        "/tasks/markup?said={}",
        "/operations?program={}",
        "/{}",
    ],
)
def test_what_an_address_says_is_text_on_every_page(browser: httpx.Client, path: str) -> None:
    for text in (SCRIPT, IMAGE, "javascript:alert(1)", "//evil.example", "https://evil.example/"):
        page = browser.get(path.format(httpx.QueryParams({"x": text}).__str__().partition("=")[2]))
        assert page.status_code in (200, 303, 400, 404), page.status_code
        assert "evil.example" not in page.headers.get("location", "")
        assert active_parts(page.text) == [], (path, text)


@pytest.mark.security("S16")
@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aX: y",
        "\t//evil.example",
    ],
)
def test_no_form_leads_to_another_site(browser: httpx.Client, back: str) -> None:
    answer = browser.post("/preferences", data={"csrf": token(browser), "back": back, "density": "compact"})
    assert answer.status_code in (303, 400), answer.status_code
    assert "evil.example" not in answer.headers.get("location", "").replace("/%5Cevil.example", "//evil.example")
    assert not answer.headers.get("location", "/").startswith(("//", "/\\", "javascript"))


@pytest.mark.security("S23")
@pytest.mark.parametrize(
    "path", ["/", "/tasks/markup", "/patients/markup", "/operations", "/no/such/page", "/setup", "/clients", "/roles"]
)
def test_every_page_says_what_it_may_load_and_who_may_frame_it(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["base-uri"] == policy["object-src"] == "'none'"
    assert policy["form-action"] == policy["frame-ancestors"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert active_parts(answer.text) == []


@pytest.mark.security("S18", "S20")
def test_the_cookie_is_for_this_server_only_and_out_of_reach_of_scripts(one_tracker: Tracker) -> None:
    cookie = httpx.get(f"{one_tracker.url}/", timeout=60, trust_env=False).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "domain" not in cookie.lower()
    assert "expires" not in cookie.lower()


@pytest.mark.security("S14")
@pytest.mark.parametrize(
    "cookie", ["x", "x.y", ".", "e30.", "a" * 5000, "bnVsbA.0", "W10.0", "%00", "é", "eyJpZCI6MX0." + "0" * 64]
)
def test_a_forged_cookie_is_nobodys_and_breaks_nothing(one_tracker: Tracker, cookie: str) -> None:
    headers = [(b"Cookie", f"tracker_session={cookie}".encode())]
    answer = httpx.get(f"{one_tracker.url}/", headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["set-cookie"].startswith("tracker_session=")
