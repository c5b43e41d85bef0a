"""`keys` as people use it, and the page on which EHRs read our public keys."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from api.context import Access
from fhir_tracker import clock
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve

PAGE = "/.well-known/jwks.json"


@pytest.fixture
def keys(database: Database) -> Keyring:
    return Keyring(database=database, secret_key="k" * 40)


def run(url: str, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["keys", *words, "--database", url]) == code
    said = capsys.readouterr()
    return said.out, said.err


def listed(url: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(url, capsys, "list", "--json")[0])["keys"]
    return found


@pytest.mark.requirement(102)
@pytest.mark.parametrize("access", list(Access))
def test_anyone_may_read_the_public_keys_and_keep_them_for_a_while(serve: Serve, keys: Keyring, access: Access) -> None:
    made = keys.ensure(clock.now(), "ES384")
    answer = serve(access).get(PAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert [one["kid"] for one in answer.json()["keys"]] == [made.kid]
    assert not {"d", "p", "q"} & set(answer.json()["keys"][0])
    assert serve(access).head(PAGE).content == b""


@pytest.mark.requirement(102)
def test_during_a_rotation_two_keys_are_published_and_before_any_need_none(serve: Serve, keys: Keyring) -> None:
    client, now = serve(Access.LOCKED), clock.now()
    assert client.get(PAGE).json() == {"keys": []}
    old = keys.ensure(now - timedelta(days=2), "ES384")
    new = keys.rotate(now)
    assert [one["kid"] for one in client.get(PAGE).json()["keys"]] == [new.kid, old.kid]


def test_while_the_database_is_away_the_page_says_so_and_shows_nothing(serve: Serve) -> None:
    answer = serve(Access.LOCKED, reached=False).get(PAGE)
    assert (answer.status_code, answer.content) == (503, b"")
    assert answer.headers["cache-control"] == "no-store"


def test_keys_are_listed_rotated_and_retired(ready_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no key yet" in run(ready_url, capsys, "list")[0]
    first = json.loads(run(ready_url, capsys, "rotate", "--alg", "ES384", "--json")[0])
    assert (first["alg"], first["state"]) == ("ES384", "signs")
    assert "signs from 2" in run(ready_url, capsys, "rotate")[0]
    assert [(one["alg"], one["state"]) for one in listed(ready_url, capsys)] == [("ES384", "waits"), ("ES384", "signs")]
    assert "rotate --now" in run(ready_url, capsys, "rotate", code=1)[1]
    assert "signs from now" in run(ready_url, capsys, "rotate", "--now")[0]
    assert [one["state"] for one in listed(ready_url, capsys)] == ["signs", "published"]
    assert "published no more" in run(ready_url, capsys, "retire", first["kid"])[0]
    new, old = listed(ready_url, capsys)
    assert (new["state"], old["state"], old["kid"]) == ("signs", "retired", first["kid"])
    assert "only key" in run(ready_url, capsys, "retire", new["kid"], code=1)[1]
    assert "RS384, ES384" in run(ready_url, capsys, "rotate", "--alg", "none", code=2)[1]
    assert new["kid"] in run(ready_url, capsys, "list")[0]


def test_no_command_shows_a_private_key(ready_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = "".join(run(ready_url, capsys, *words)[0] for words in (["rotate", "--json"], ["list", "--json"], ["list"]))
    assert '"d"' not in shown
    assert "sealed" not in shown


def test_after_a_change_of_the_secret_key_a_command_seals_anew(
    ready_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    former, wrong = tmp_path / "former", tmp_path / "wrong"
    former.write_text("k" * 40)
    wrong.write_text("w" * 40)
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "k" * 40)
    kid = json.loads(run(ready_url, capsys, "rotate", "--alg", "ES384", "--json")[0])["kid"]
    monkeypatch.setenv("FHIR_TRACKER_SECRET_KEY", "n" * 40)
    assert kid in run(ready_url, capsys, "reseal", "--former", str(wrong), code=1)[1]
    assert "1 keys sealed anew" in run(ready_url, capsys, "reseal", "--former", str(former))[0]
    again = json.loads(run(ready_url, capsys, "reseal", "--former", str(former), "--json")[0])
    others: dict[str, dict[str, int]] = {"resealed": {}, "lost": {}}
    assert again == {"resealed": [], "alreadyOpen": [kid], "lost": [], "others": others}
    said = run(ready_url, capsys, "reseal", "--former", str(tmp_path / "none"), code=2)
    assert "former key cannot be read" in said[1]
    assert "k" * 40 not in "".join(said)
