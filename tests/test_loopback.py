"""What is this machine is one question with one answer, wherever it decides whether something may travel unencrypted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fhir_tracker import addresses, authentication, clients, issuers
from fhir_tracker.config import load_settings
from fhir_tracker.hazards import hazards
from fhir_tracker.loopback import is_loopback, leads_here
from subscriptions.outbound import reach_of

HERE = ("localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "127.255.255.255", "[::1]", "[0:0:0:0:0:0:0:1]")
ELSEWHERE = (
    *("ehr.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost", "localhost.", "127.0.0.1."),
    *("127.1", "127.0.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.256", "127.0.0.01", "0.0.0.0", "0"),
    *("10.0.0.1", "128.0.0.1", "126.255.255.255", "169.254.169.254", "[::]", "[::2]", "[fe80::1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "[::7f00:1]", "locaIhost", "localhost%00", "", " localhost"),
)
SUBJECTS: dict[str, Callable[[str], bool]] = {
    "an issuer": lambda at: issuers.normal(f"http://{at}/fhir") is not None,
    "the keys of a system": lambda at: clients.is_safe_address(f"http://{at}/jwks.json"),
    "credentials": lambda at: not authentication.travels_openly({"auth": "basic"}, f"http://{at}/fhir"),
    "the public address": lambda at: _is_without_hazard("PUBLIC_URL", f"http://{at}"),
    "an origin": lambda at: _is_without_hazard("CORS_ORIGINS", f"http://{at.lower()}"),
    "Redis": lambda at: _is_without_hazard("REDIS_URL", f"redis://{at}/0"),
    "PostgreSQL": lambda at: _is_without_hazard("DATABASE", f"postgresql://u@{at}/n"),
    "a webhook": lambda at: _is_taken(lambda: addresses.webhooks_of_roles(f"rn=http://{at}/hook")),
    "a server asked": lambda at: reach_of("http://localhost").permits(f"http://{at}:1/fhir"),
}


def _is_taken(read: Callable[[], object]) -> bool:
    try:
        read()
    except ValueError:
        return False
    return True


def _is_without_hazard(name: str, value: str) -> bool:
    key = "N3mQ0vZk8rT5yX1cB7pL2wD9sF4gH6jK"
    settings = load_settings(
        {"HOME": "/nowhere", "FHIR_TRACKER_SECRET_KEY": key, "FHIR_TRACKER_DISK_ENCRYPTED": "yes", f"FHIR_TRACKER_{name}": value}
    )  # fmt: skip
    return not [one for one in hazards(settings) if one.word]


@pytest.mark.security("S11", "E1")
@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("host", HERE)
def test_this_machine_may_be_reached_unencrypted(subject: str, host: str) -> None:
    assert is_loopback(host)
    assert leads_here(f"http://{host}:8080/x?y#z")
    assert SUBJECTS[subject](host)


@pytest.mark.security("S11", "E1")
@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_only_looks_like_this_machine_is_elsewhere(host: str) -> None:
    assert not is_loopback(host)
    assert not leads_here(f"http://{host}/x")
    assert not leads_here(f"http://localhost@{host or 'x.example'}/")


@pytest.mark.security("S11", "E1")
@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("host", [one for one in ELSEWHERE if one and "%" not in one and " " not in one])
def test_nothing_goes_elsewhere_unencrypted(subject: str, host: str) -> None:
    assert not _is_good(subject, host)


def _is_good(subject: str, host: str) -> bool:
    try:
        return SUBJECTS[subject](host)
    except ValueError:
        return False


def test_what_is_no_address_leads_nowhere() -> None:
    assert not is_loopback(None)
    for odd in ("", "localhost", "http://[::1", "//", "http:///x", "mailto:x@localhost"):
        assert not leads_here(odd), odd
