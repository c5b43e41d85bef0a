"""Which options say how a connection shows who it is, and which make no sense together."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.authentication import checked_authentication, is_safe, travels_openly
from fhir_tracker.errors import UsageError

BASE = "https://ehr.example/fhir"
SECRET = {"secret_file": "/run/secrets/x"}
SIGNED = {"auth": "private_key_jwt", "client_id": "tracker"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"auth": "none"},
        {"auth": "basic", **SECRET},
        {"auth": "bearer", **SECRET},
        {"auth": "client_secret", "client_id": "tracker at clinic", **SECRET},
        SIGNED,
        {**SIGNED, "token_url": "https://auth.example:8443/token?tenant=7", "scopes": "system/*.rs system/Task.cruds"},
        {**SIGNED, "jku": "https://tracker.example/.well-known/jwks.json"},
    ],
)
def test_options_that_make_sense_are_taken(options: dict[str, Any]) -> None:
    checked_authentication(options, BASE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth": "smart"}, "--auth is one of none, basic, bearer, client_secret, private_key_jwt"),
        ({"auth": "BASIC", **SECRET}, "--auth is one of"),
        ({"auth": "basic"}, "--auth basic needs --secret-file"),
        ({"auth": "bearer", "secret_file": ""}, "--auth bearer needs --secret-file"),
        ({"auth": "none", **SECRET}, "--auth none takes no --secret-file"),
        (SECRET, "--auth none takes no --secret-file"),
        ({"auth": "none", "client_id": "x", "scopes": "y"}, "takes no --client-id and no --scopes"),
        ({"auth": "bearer", **SECRET, "token_url": "https://x/"}, "--auth bearer takes no --token-url"),
        ({"auth": "client_secret"}, "needs --client-id and --secret-file"),
        ({"auth": "client_secret", "client_id": "x"}, "needs --secret-file"),
        ({"auth": "client_secret", "client_id": "x", "jku": "https://x/", **SECRET}, "it signs nothing"),
        ({"auth": "private_key_jwt"}, "needs --client-id"),
        ({**SIGNED, **SECRET}, "keys list"),
        ({**SIGNED, "client_id": " x"}, "one line of text"),
        ({**SIGNED, "client_id": "a\nb"}, "one line of text"),
        ({**SIGNED, "client_id": "a" * 3000}, "one line of text"),
        ({**SIGNED, "scopes": "a  b"}, "single spaces"),
        ({**SIGNED, "scopes": 'a"b'}, "single spaces"),
        ({**SIGNED, "scopes": "a\nb"}, "single spaces"),
        ({**SIGNED, "scopes": "ü"}, "single spaces"),
        ({**SIGNED, "token_url": "http://auth.example/token"}, "--token-url has to be an https address"),
        ({**SIGNED, "token_url": "auth.example/token"}, "--token-url has to be"),
        ({**SIGNED, "jku": "https://u:p@x/"}, "--jku has to be"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_what_to_change(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        checked_authentication(options, BASE)


@pytest.mark.parametrize(
    ("url", "base", "safe"),
    [
        ("https://a.example/t", BASE, True),
        ("http://a.example/t", BASE, False),
        ("http://127.0.0.1:9/t", "http://127.0.0.1:8/fhir", True),
        ("https://a.example/t", "http://127.0.0.1:8/fhir", True),
        ("ftp://a.example/t", "http://127.0.0.1:8/fhir", False),
        ("https://a.example/t#x", BASE, False),
        ("https://[::1/t", BASE, False),
        ("https://a.example:0/t", BASE, False),
        ("https://ä.example/t", BASE, False),
        ("//a.example/t", BASE, False),
        ("", BASE, False),
    ],
)
def test_credentials_go_over_https_or_where_the_server_itself_is_plain(url: str, base: str, safe: bool) -> None:
    assert is_safe(url, base) is safe


@pytest.mark.parametrize(
    ("base", "kind", "openly"),
    [
        ("http://ehr.example/fhir", "basic", True),
        ("http://ehr.example/fhir", "none", False),
        ("http://127.0.0.1:8080/fhir", "basic", False),
        ("http://localhost/fhir", "bearer", False),
        (BASE, "bearer", False),
    ],
)
def test_a_secret_over_plain_http_to_another_machine_is_noticed(base: str, kind: str, openly: bool) -> None:
    assert travels_openly({"auth": kind}, base) is openly
