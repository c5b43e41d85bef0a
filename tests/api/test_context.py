"""The address that begins our links."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.context import Access, AppContext
from fhir_tracker.storage.database import Database
from tests.support.contexts import context_of

LISTENS = "http://127.0.0.1:8080"
BASE = f"{LISTENS}/fhir"


@pytest.fixture
def context(database: Database) -> AppContext:
    """A server in open mode that nobody gave a public address."""
    return context_of(database, public_url=LISTENS)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_a_local_name_with_our_port_begins_the_links_of_who_used_it(context: AppContext, host: str) -> None:
    assert context.base_for(host) == f"http://{host}/fhir"


@pytest.mark.parametrize(
    "host", ["", "localhost", "localhost:8081", "evil.example:8080", "localhost:8080/x", "LOCALHOST:8080"]
)
def test_no_other_host_does(context: AppContext, host: str) -> None:
    assert context.base_for(host) == BASE


@pytest.mark.parametrize("access", list(Access))
def test_a_public_address_goes_before_every_name(context: AppContext, access: Access) -> None:
    public = "https://tracker.example.org/care"
    settings = replace(context.settings, public_url=public)
    known = replace(context, settings=settings, public_url=public, access=access)
    assert known.base_for("localhost:8080") == f"{public}/fhir"


def test_without_open_mode_no_caller_chooses_the_address(context: AppContext) -> None:
    assert replace(context, access=Access.LOCKED).base_for("localhost:8080") == BASE
