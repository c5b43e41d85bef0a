"""Addresses that no library reads, wherever one comes from outside: refused in words, and nothing ends over them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import respx

from api.context import Access
from api.cors import is_of
from api.fhir.bundle_entries import MOST_PARAMETERS
from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import read_page
from subscriptions.client import Answer, EhrClient, Limits
from subscriptions.outbound import PUBLIC, origin, reach_of
from tests.api.conftest import Serve
from tests.api.fhir.talk import outcome

BASE = "https://ehr.example/fhir"
UNREADABLE = (
    "http://[", "//[", "http://[::1", "https://[v1.x", "https://ehr.example]/x", "http://x:y/", "//x:y", "https:///x", "http:",
    "https://ehr.example:99999/", "https://ehr.example/\x00", "https://ehr.example/\x1f", "https://ehr.example/a\tb",
    "https://ehr.example/\x7f", "https://ehr.exa\tmple/fhir", "https://ehr.example/" + "a" * 70_000, "https://\u2100.example/",
    "https://ehr.example\uff0fx/", "https://xn--/", "javascript:x",
)  # fmt: skip
WAYS: dict[str, Callable[[EhrClient, str], object]] = {
    "a redirect": lambda client, url: client.get("start"),
    "a read": lambda client, url: client.get(url),
    "a file": lambda client, url: list(client.lines(url)),
    "a search": lambda client, url: client.search(url),
    "a write": lambda client, url: client.send("POST", url, b"{}"),
}


@pytest.fixture
def ready_url(prepared_file: Path, tmp_path: Path) -> str:
    """The subject is no database."""
    path = tmp_path / "tracker.db"
    shutil.copyfile(prepared_file, path)
    return f"sqlite:///{path}"


def _failure(work: Callable[[EhrClient, str], object], client: EhrClient, url: str) -> RemoteFailure | None:
    try:
        work(client, url)
    except RemoteFailure as failure:
        return failure
    return None


@pytest.mark.security("S29", "S58")
@pytest.mark.parametrize("way", WAYS)
def test_an_ehr_that_points_to_no_address_is_told_so_whichever_way(way: str) -> None:
    """What it leads on to, else nowhere: no other host hears of it, and no other error than ours comes out."""
    for url in UNREADABLE:
        with respx.mock(assert_all_called=False) as router:
            others = router.route(host__regex=r"^(?!ehr\.example$)").mock(return_value=httpx.Response(200))
            moved = httpx.Response(302, headers=[(b"location", url.encode())])
            router.route(url=f"{BASE}/start").mock(return_value=moved)
            router.route(host="ehr.example").mock(return_value=httpx.Response(200, json={}))
            with EhrClient(BASE, limits=Limits(tries=1)) as client:
                told = _failure(WAYS[way], client, url)
            assert told is None or url[:40] not in told.message, url
            assert told is None or told.permanent or "connection broke" in told.message, url
            assert not others.called, url


@pytest.mark.security("S29", "S58")
@pytest.mark.parametrize("link", ["http://[", "//[", "https://[::1", "https://ehr.example]/"])
def test_a_page_with_such_a_link_is_refused_if_it_leads_on_and_read_if_it_names_itself(link: str) -> None:
    def page(relation: str) -> Answer:
        links = [{"relation": relation, "url": link}]
        body = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": []}
        return Answer(
            status=200,
            url=f"{BASE}/Task",
            body=json.dumps(body).encode(),
            content_type="application/fhir+json",
            served_at=None,
        )

    with pytest.raises(RemoteFailure, match="cannot be read") as refused:
        read_page(page("next"), "searchset")
    assert refused.value.permanent
    read = read_page(page("self"), "searchset")
    assert (read.self_url, read.next_url) == ("", None)


@pytest.mark.security("S27", "S29")
def test_an_origin_is_read_as_the_library_reads_it_that_asks() -> None:
    """A credential goes to an origin by our reading of an address, and over the wire by httpx's."""
    hosts = ("ehr.example", "evil.example", "user", ".", "\u3002", "\u00ad", "\u200b")
    ports = (":443", "::443", ":0443", ":+443", ":\uff14\uff14\uff13", "443", "8443", "%3a443")
    marks = (
        "@",
        "\\",
        "/",
        "#",
        "?",
        ":",
        ";",
        "&",
        "[",
        "]",
        "\t",
        "\n",
        " ",
        "%40",
        "%2f",
        "%2e",
        "%00",
        "\uff20",
        "\uff0f",
    )
    bits = (*hosts, *hosts, *ports, *marks)
    chance, ours = random.Random(2), ("https", "ehr.example", 443)
    agreed = 0
    for _ in range(60_000):
        url = "https://" + "".join(chance.choice(bits) for _ in range(chance.randint(1, 5)))
        try:
            if origin(url) != ours:
                continue
            read = httpx.URL(url)
        except (RemoteFailure, httpx.InvalidURL):
            continue
        assert (read.scheme, read.host, read.port or 443) == ours, url
        agreed += 1
    assert agreed > 300


@pytest.mark.security("S27", "S29")
@pytest.mark.parametrize("address", ["fec0::1", "feff::1", "3fff::1", "192.88.99.1", "::ffff:192.88.99.1"])
def test_networks_that_were_private_once_or_belong_to_nobody_are_asked_by_nobody(address: str) -> None:
    for reach in (PUBLIC, reach_of(BASE), reach_of("https://ehr.inside:8443/fhir")):
        assert not reach.takes("ehr.example", 443, address)
        assert not reach.takes("ehr.inside", 8443, address)


@pytest.mark.security("S22", "S34")
@pytest.mark.parametrize("sent", ["http://[", "//[", "http://[::1", "https://testserver]", "\x7f", "null", "x"])
def test_who_says_to_come_from_nowhere_comes_from_elsewhere(serve: Serve, sent: str) -> None:
    assert not is_of(sent, "testserver")
    client = serve(Access.OPEN)
    page = client.post("/preferences", data={"density": "compact", "csrf": "x"}, headers={"Origin": sent})
    assert page.status_code == 403
    stored = client.post(
        "/fhir/Binary",
        content=b"x",
        headers={"Origin": sent, "Content-Type": "image/png", "Sec-Fetch-Site": "cross-site"},
    )
    assert outcome(stored, 403)["code"] == "forbidden"
    alone = client.post("/fhir/Binary", content=b"x", headers={"Origin": sent, "Content-Type": "image/png"})
    assert alone.status_code == 403


@pytest.mark.security("S34", "S38")
@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("url", [*UNREADABLE, "[", "Task/[", "a:b", "Task:x", "1:2", "?" + "&" * (MOST_PARAMETERS + 1)])
def test_an_entry_for_no_address_is_refused_alone_or_with_the_rest(serve: Serve, kind: str, url: str) -> None:
    client = serve(Access.OPEN)
    for method in ("GET", "PUT", "POST"):
        resource = {"resourceType": "Task", "id": "x", "status": "requested", "intent": "order"}
        entry = {"request": {"method": method, "url": url}} | ({} if method == "GET" else {"resource": resource})
        bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        answer = client.post("/fhir", json=bundle, headers={"Content-Type": "application/fhir+json"})
        if kind == "batch" and answer.status_code == 200:
            told = [one["response"] for one in answer.json()["entry"]]
            assert told[0]["status"][0] == "4" or url.startswith("?"), told
        else:
            assert 400 <= answer.status_code < 500, answer.text[:300]
            assert outcome(answer)
    assert client.get("/fhir/Task?_summary=count").json()["total"] == 0
