"""What is unsafe with data of real patients is named before a server starts, and only a person's own word allows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from api.commands import serve
from api.serve import is_local
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import UsageError
from fhir_tracker.hazards import check_heard, check_safe, hazards
from fhir_tracker.setting_texts import INSECURE

KEY = "q8Zr3vT0yLw5nXk1Bd7Hs2Jf9Gm4Pc6Ua"
PG = "postgresql://u:p@db.example/n"
SAFE: list[dict[str, str]] = [
    {"SECRET_KEY": KEY},
    {},
    {"PUBLIC_URL": "https://tracker.example"},
    {"PUBLIC_URL": "http://127.0.0.1:8080"},
    {"PUBLIC_URL": "http://localhost"},
    {"PUBLIC_URL": "http://[::1]:8080"},
    {"DATABASE": PG + "?sslmode=verify-full"},
    {"DATABASE": PG + "?sslmode=require"},
    {"DATABASE": "postgresql://u@127.0.0.1/n"},
    {"DATABASE": "postgresql://u@[::1]:5432/n"},
    {"DATABASE": "postgresql:///n?host=/var/run/postgresql"},
    {"DATABASE": "postgresql:///n?host=127.0.0.1:5432,::1"},
    {"DATABASE": "postgresql://u:p,w@127.0.0.1,localhost:5433/n"},
    {"DATABASE": PG + "?sslmode=verify-full&hostaddr=10.0.0.5"},
    {"DATABASE": "postgresql:///n?service=far&sslmode=verify-full"},
    {"DATABASE": "postgresql:///n"},
    {"REDIS_URL": "rediss://r.example"},
    {"REDIS_URL": "rediss://r.example?ssl_cert_reqs=CERT_REQUIRED&ssl_check_hostname=true"},
    {"REDIS_URL": "redis://127.0.0.1:6379/0"},
    {"REDIS_URL": "unix:///run/redis"},
    {"CORS_ORIGINS": "https://app.example,http://localhost:3000"},
]
UNSAFE: list[tuple[str, dict[str, str]]] = [
    ("secret-key", {"SECRET_KEY": "k" * 40}),
    ("secret-key", {"SECRET_KEY": "abab" * 10}),
    ("secret-key", {"SECRET_KEY": "please-change-me-please-change-me-1234"}),
    ("secret-key", {"SECRET_KEY": "your-very-own-key-of-the-documentation-0"}),
    ("secret-key", {"SECRET_KEY": "the-DEFAULT-of-the-compose-file-1234567"}),
    ("http", {"PUBLIC_URL": "http://tracker.example"}),
    ("http", {"PUBLIC_URL": "http://127.0.0.1.evil.example"}),
    ("http", {"PUBLIC_URL": "http://10.0.0.5:8080"}),
    ("http", {"CORS_ORIGINS": "https://app.example,http://app.example"}),
    ("postgresql", {"DATABASE": PG}),
    ("postgresql", {"DATABASE": PG + "?sslmode=prefer"}),
    ("postgresql", {"DATABASE": PG + "?sslmode=disable"}),
    ("postgresql", {"DATABASE": PG + "?sslmode=verify-full&sslmode=disable"}),
    ("postgresql", {"DATABASE": "postgresql://u@127.0.0.1,db.example/n"}),
    ("postgresql", {"DATABASE": "postgresql://u@127.0.0.1/n?host=db.example"}),
    ("postgresql", {"DATABASE": "postgresql://127.0.0.1@db.example/n"}),
    ("postgresql", {"DATABASE": "postgresql://u@127.0.0.1/n?hostaddr=10.0.0.5"}),
    ("postgresql", {"DATABASE": "postgresql:///n?hostaddr=10.0.0.5"}),
    ("postgresql", {"DATABASE": "postgresql://u@127.0.0.1/n?hostaddr=127.0.0.1,10.0.0.5"}),
    ("postgresql", {"DATABASE": "postgresql:///n?host=/run/postgresql,db.example"}),
    ("postgresql", {"DATABASE": "postgresql:///n?host=localhost:5432,db.example:5432"}),
    ("postgresql", {"DATABASE": "postgresql:///n?service=far"}),
    ("postgresql", {"DATABASE": PG + "?sslmode=REQUIRE"}),
    ("postgresql", {"DATABASE": PG + "?sslmode=allow"}),
    ("redis", {"REDIS_URL": "rediss://r.example?ssl_cert_reqs=none"}),
    ("redis", {"REDIS_URL": "rediss://127.0.0.1/0?ssl_cert_reqs=CERT_NONE"}),
    ("redis", {"REDIS_URL": "rediss://r.example?ssl_check_hostname=false"}),
    ("redis", {"REDIS_URL": "redis://r.example"}),
    ("redis", {"REDIS_URL": "redis://:secret@10.0.0.5:6379/0"}),
]


def settings(given: dict[str, str], **more: str) -> Settings:
    return load_settings({"HOME": "/h"} | {f"FHIR_TRACKER_{name}": text for name, text in (given | more).items()})


@pytest.mark.security("E1", "S55")
@pytest.mark.parametrize("given", SAFE, ids=str)
def test_what_is_safe_is_let_be(given: dict[str, str]) -> None:
    check_safe(settings(given))
    assert [one.word for one in hazards(settings(given, DISK_ENCRYPTED="yes"))] == []


@pytest.mark.security("E1", "S55")
@pytest.mark.parametrize(("word", "given"), UNSAFE, ids=str)
def test_what_is_unsafe_is_refused_until_its_own_word_allows_it(word: str, given: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        check_safe(settings(given))
    assert f"FHIR_TRACKER_INSECURE={word}" in refused.value.message
    for secret in given.values():
        assert secret not in refused.value.message, "no setting is repeated: several hold passwords"
    others = ",".join(INSECURE - {word})
    with pytest.raises(UsageError):
        check_safe(settings(given, INSECURE=others))
    check_safe(settings(given, INSECURE=word))
    assert [one.word for one in hazards(settings(given, INSECURE=word)) if one.word] == [word], "doctor still tells it"
    check_safe(settings(given), *(INSECURE - {word}))


@pytest.fixture(autouse=True)
def _no_postgresql_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.security("E1")
@pytest.mark.parametrize(
    ("address", "env", "is_safe"),
    [
        ("postgresql:///n", {"PGHOST": "db.example"}, False),
        ("postgresql:///n", {"PGHOST": "/run/postgresql"}, True),
        ("postgresql:///n", {"PGHOST": "127.0.0.1,db.example"}, False),
        ("postgresql:///n", {"PGHOST": "db.example", "PGSSLMODE": "verify-full"}, True),
        ("postgresql:///n?sslmode=disable", {"PGHOST": "db.example", "PGSSLMODE": "verify-full"}, False),
        ("postgresql://127.0.0.1/n", {"PGHOST": "db.example"}, True),
        ("postgresql://127.0.0.1/n", {"PGHOSTADDR": "10.0.0.5"}, False),
        ("postgresql://127.0.0.1/n?hostaddr=127.0.0.1", {"PGHOSTADDR": "10.0.0.5"}, True),
        ("postgresql://127.0.0.1/n", {"PGSERVICE": "far"}, False),
        ("postgresql://127.0.0.1/n", {"PGSERVICE": "far", "PGSSLMODE": "require"}, False),
        ("postgresql://127.0.0.1/n?sslmode=require", {"PGSERVICE": "far"}, True),
        (PG, {"PGSSLMODE": "prefer"}, False),
        (PG, {"PGSSLMODE": "require"}, True),
    ],
)
def test_what_the_environment_says_to_postgresqls_library_counts(
    monkeypatch: pytest.MonkeyPatch, address: str, env: dict[str, str], is_safe: bool
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert [one.word for one in hazards(settings({"DATABASE": address}))] == ([] if is_safe else ["postgresql"])


@pytest.mark.security("E1", "S55")
@pytest.mark.parametrize("words", [("--host", "0.0.0.0"), ("--host", "::"), ("--host", "0.0.0.0", "--port", "0")])
def test_a_port_that_others_reach_is_not_opened_without_tls_or_the_address_of_a_proxy(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = started(tmp_path, "serve", *words)
    assert done.returncode == 2
    assert "--tls-cert" in done.stderr
    assert "FHIR_TRACKER_INSECURE=http" in done.stderr
    assert not (tmp_path / "t.db").exists()


@pytest.mark.security("E1")
def test_who_listens_here_or_speaks_tls_or_stands_behind_a_proxy_may() -> None:
    with pytest.raises(UsageError):
        check_heard(settings({}), is_local=False, has_tls=False)
    check_heard(settings({}), is_local=True, has_tls=False)
    check_heard(settings({}), is_local=False, has_tls=True)
    check_heard(settings({"INSECURE": "http"}), is_local=False, has_tls=False)
    check_heard(settings({"PUBLIC_URL": "https://tracker.example"}), is_local=False, has_tls=False)
    for host, local in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        assert is_local(host) is local


@pytest.mark.security("E2")
def test_a_sqlite_file_on_a_disk_that_nobody_called_encrypted_is_told_and_refuses_nothing() -> None:
    (found,) = hazards(settings({}))
    assert found.word == ""
    assert "encrypted" in found.detail
    assert hazards(settings({"DATABASE": "postgresql://127.0.0.1/n"})) == []
    check_safe(settings({}))


def started(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "fhir-tracker"
    return subprocess.run(
        [program, *words, "--database", f"sqlite:///{folder / 't.db'}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"} | {f"FHIR_TRACKER_{k}": v for k, v in env.items()},
    )


@pytest.mark.security("E1", "S55")
@pytest.mark.parametrize(
    "env",
    [
        {"PUBLIC_URL": "http://tracker.example"},
        {"SECRET_KEY": "k" * 40},
        {"REDIS_URL": "redis://r.example"},
        {"FAILPOINT": "nowhere"},
    ],
    ids=str,
)
def test_a_server_for_real_patients_does_not_start_unsafely_and_leaves_no_trace(
    tmp_path: Path, env: dict[str, str]
) -> None:
    done = started(tmp_path, "serve", "--port", "0", **env)
    assert done.returncode == 2
    assert "FHIR_TRACKER_INSECURE=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "t.db").exists()
    for text in env.values():
        assert text == "nowhere" or text not in done.stderr


@pytest.mark.security("E2", "E1")
@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"SECRET_KEY": KEY}, ["nobody has said that the disk"]),
        ({"SECRET_KEY": KEY, "DISK_ENCRYPTED": "yes"}, []),
        (
            {"SECRET_KEY": "k" * 40, "DISK_ENCRYPTED": "yes", "INSECURE": "secret-key"},
            ["FHIR_TRACKER_SECRET_KEY can be guessed"],
        ),
    ],
    ids=str,
)
def test_what_is_unsafe_and_let_be_is_told_whenever_a_server_starts(
    caplog: pytest.LogCaptureFixture, env: dict[str, str], told: list[str]
) -> None:
    serve.warn(settings(env))
    fields = [record.__dict__["fields"] for record in caplog.records]
    assert len(fields) == len(told)
    for found, wanted in zip(fields, told, strict=True):
        assert wanted in found["what"]
        assert found["to_mend"]
        assert not [value for value in env.values() if len(value) > 5 and value in str(found)]


@pytest.mark.security("E1", "S55")
def test_doctor_shows_each_hazard_and_what_mends_it(tmp_path: Path) -> None:
    env = {"SECRET_KEY": "k" * 40, "PUBLIC_URL": "http://tracker.example", "INSECURE": "http"}
    said = started(tmp_path, "doctor", **env).stdout
    lines = [line for line in said.splitlines() if " safety " in line]
    assert len(lines) == 3, said
    assert [line.split()[0] for line in lines] == ["FAIL", "WARN", "WARN"]
    assert "secret-key" in lines[0] or "guessed" in lines[0]
    assert all("to mend it" in line for line in lines)
    safe = {"SECRET_KEY": KEY, "DISK_ENCRYPTED": "yes"}
    assert " safety " in started(tmp_path, "doctor", **safe).stdout
    assert KEY not in said
