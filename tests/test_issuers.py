"""Issuers that vouch for staff: the one form of their address, terms that make sense, a secret that is kept sealed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from fhir_tracker import accounts, connections, issuers, launches
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.issuers import Terms, normal
from fhir_tracker.storage import epochs
from fhir_tracker.storage import launches as stored
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import PROVIDER, Issuer

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
KEY, OTHER_KEY = "k" * 40, "o" * 40
URL = "https://ehr.example/fhir"
SECRET = "made-up-client-secret-4711"


def terms(**more: Any) -> Terms:
    return Terms(**{"url": URL, "client_id": "tracker", **more})


def saved(database: Database, key: str = "clinic", **more: Any) -> Issuer:
    with database.begin() as tx:
        return issuers.of_connection(tx, key, terms(**more), KEY, NOW)


@pytest.fixture
def clinic(database: Database) -> Database:
    with database.begin() as tx:
        for key in ("clinic", "north"):
            connections.add(tx, key, f"https://{key}.example/backend", now=NOW)
    return database


@pytest.mark.requirement(90)
@pytest.mark.security("S12")
@pytest.mark.parametrize(
    "same",
    [
        URL,
        f"{URL}/",
        "HTTPS://ehr.example/fhir",
        "https://EHR.Example/fhir",
        "https://ehr.example:443/fhir",
        "https://ehr.example:0443/fhir/",
    ],
)
def test_an_address_written_in_another_usual_way_is_the_same_issuer(clinic: Database, same: str) -> None:
    made = saved(clinic)
    with clinic.read() as tx:
        assert issuers.named(tx, same) == made


@pytest.mark.requirement(90)
@pytest.mark.security("S12")
@pytest.mark.parametrize(
    "other",
    [
        "",
        "http://ehr.example/fhir",
        "https://ehr.example./fhir",
        "https://ehr.example:8443/fhir",
        "https://ehr.example:/fhir",
        "https://ehr.example:0/fhir",
        "https://ehr.example:99999/fhir",
        "https://ehr.example@evil.example/fhir",
        "https://evil.example@ehr.example/fhir",
        "https://@ehr.example/fhir",
        "https://:@ehr.example/fhir",
        "https://ehr.example%2f@evil.example/fhir",
        "https://ehr.example/FHIR",
        "https://ehr.example/fhir//",
        "https://ehr.example//fhir",
        "https://ehr.example/./fhir",
        "https://ehr.example/x/../fhir",
        "https://ehr.example/fhir/..",
        "https://ehr.example%2ffhir",
        "https://ehr.example/%66hir",
        "https://ehr.example/fhir%2f",
        "https://ehr.example/fhir%00",
        "https://ehr.example/fhir?x",
        "https://ehr.example/fhir?",
        "https://ehr.example/fhir#",
        "https://ehr.example/fhir#x",
        "https://ehr.example\\.evil.example/fhir",
        "https:\\\\ehr.example\\fhir",
        "https:/ehr.example/fhir",
        "https:ehr.example/fhir",
        "//ehr.example/fhir",
        "ehr.example/fhir",
        " https://ehr.example/fhir",
        "https://ehr.example/fhir ",
        "https://ehr.example/fhir\n",
        "https://ehr.exam\tple/fhir",
        "https://ehr.example/fhir\x00",
        "https://ehr.еxample/fhir",
        "https://ehr。example/fhir",
        "https://xn--ehr-example/fhir",
        "https://ehr.example.evil.example/fhir",
        "https://evil.example/?https://ehr.example/fhir",
        "https://[ehr.example]/fhir",
        "https://[::1]:443:443/fhir",
        "https://-ehr.example/fhir",
        "https://ehr..example/fhir",
        "javascript:https://ehr.example/fhir",
        "file://ehr.example/fhir",
        "data:text/html,https://ehr.example/fhir",
        URL + "/" + "a" * 2000,
        "https://ehr.example/fhir\udc80",
    ],
)
def test_no_trick_of_writing_matches_the_list(clinic: Database, other: str) -> None:
    saved(clinic)
    with clinic.read() as tx:
        assert issuers.named(tx, other) is None


@pytest.mark.security("S12", "E1")
@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("http://localhost:8080/fhir", "http://localhost:8080/fhir"),
        ("http://LOCALHOST/fhir/", "http://localhost/fhir"),
        ("http://127.0.0.1:80/fhir", "http://127.0.0.1/fhir"),
        ("http://[::1]:8080/fhir", "http://[::1]:8080/fhir"),
        ("https://[2001:DB8::1]/fhir", "https://[2001:db8::1]/fhir"),
        ("https://ehr.example", "https://ehr.example"),
        ("https://launch.example/v/r4/sim/WzIsIiJd0=/fhir", "https://launch.example/v/r4/sim/WzIsIiJd0=/fhir"),
        ("http://10.0.0.1/fhir", None),
        ("http://localhost.evil.example/fhir", None),
        ("http://127.0.0.1.evil.example/fhir", None),
        ("http://0.0.0.0/fhir", None),
        ("http://2130706433/fhir", None),
        ("http://127.1/fhir", None),
        ("http://0x7f.0.0.1/fhir", None),
    ],
)
def test_http_is_for_this_machine_only(written: str, found: str | None) -> None:
    assert normal(written) == found
    assert found is None or normal(found) == found


def test_the_address_is_kept_as_it_was_registered_beside_its_one_form(clinic: Database) -> None:
    made = saved(clinic, url="https://EHR.example:443/fhir/")
    assert (made.url, issuers.audience(made)) == (URL, "https://EHR.example:443/fhir/")
    assert issuers.audience(saved(clinic)) == URL


@pytest.mark.security("S55", "E2")
def test_the_secret_of_a_client_is_sealed_and_shown_nowhere(clinic: Database) -> None:
    made = saved(clinic, secret=SECRET)
    assert made.client_type == "confidential-symmetric"
    assert issuers.secret_of(made, KEY) == SECRET
    with clinic.read() as tx:
        kept = str(tx.connection.execute(text("SELECT * FROM issuer")).all())
    assert SECRET not in kept
    assert SECRET not in repr(made)
    assert SECRET not in repr(terms(secret=SECRET))
    assert str(made.sealed_secret) not in repr(made)
    with pytest.raises(UsageError, match="another FHIR_TRACKER_SECRET_KEY"):
        issuers.secret_of(made, OTHER_KEY)
    assert issuers.secret_of(saved(clinic), KEY) == ""


@pytest.mark.security("S55")
def test_a_secret_goes_on_only_for_the_same_client_of_the_same_issuer(clinic: Database) -> None:
    kind = "confidential-symmetric"
    saved(clinic, secret=SECRET)
    again = saved(clinic, client_type=kind, scopes="launch openid fhirUser")
    assert issuers.secret_of(again, KEY) == SECRET
    for changed in ({"url": "https://evil.example/fhir"}, {"client_id": "other"}):
        with pytest.raises(UsageError, match="--client-secret-file"):
            saved(clinic, client_type=kind, **changed)
    saved(clinic)
    with pytest.raises(UsageError, match="--client-secret-file"):
        saved(clinic, client_type=kind)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": ""}, "--issuer"),
        ({"url": "http://ehr.example/fhir"}, "--issuer"),
        ({"url": "https://a:b@ehr.example/fhir"}, "--issuer"),
        ({"client_id": ""}, "--client-id"),
        ({"client_id": "a\nb"}, "--client-id"),
        ({"client_type": "private"}, "--client-type is one of"),
        ({"client_type": "public", "secret": SECRET}, "has none"),
        ({"client_type": "confidential-asymmetric", "secret": SECRET}, "has none"),
        ({"client_type": "confidential-symmetric"}, "--client-secret-file"),
        ({"scopes": "a  b"}, "--scopes"),
        ({"scopes": 'a"b'}, "--scopes"),
        ({"frame_ancestors": ["*"]}, "--frame-ancestor"),
        ({"frame_ancestors": ["https://*.ehr.example"]}, "--frame-ancestor"),
        ({"frame_ancestors": ["https://ehr.example/app"]}, "--frame-ancestor"),
        ({"frame_ancestors": ["http://ehr.example"]}, "--frame-ancestor"),
        ({"frame_ancestors": ["https://ehr.example; script-src *"]}, "--frame-ancestor"),
        ({"frame_ancestors": ["'self'"]}, "--frame-ancestor"),
        ({"endpoint_origins": ["https://auth.example/token"]}, "--endpoint-origin"),
        ({"introspection_url": "http://ehr.example/introspect"}, "--introspection-url"),
        ({"intents": {"tracker": "everything"}}, "--intent"),
        ({"intents": {"": "queue"}}, "--intent"),
        ({"label": "a\x1bb"}, "--label"),
        ({"subject_claim": "email"}, "--subject"),
    ],
)
def test_terms_that_make_no_sense_are_refused_and_nothing_is_kept(
    clinic: Database, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as told:
        saved(clinic, **more)
    assert said in told.value.message
    assert SECRET not in told.value.message
    with clinic.read() as tx, pytest.raises(NotFound):
        issuers.get(tx, "clinic")


def test_who_somebody_is_is_always_asked_for(clinic: Database) -> None:
    assert saved(clinic).scopes == ""
    assert saved(clinic, scopes="launch patient/*.rs").scopes == "launch patient/*.rs openid fhirUser"
    assert saved(clinic, scopes="fhirUser openid launch").scopes == "fhirUser openid launch"
    with clinic.begin() as tx:
        office = issuers.of_provider(tx, "office", terms(url="https://login.example", scopes="email"), KEY, NOW)
    assert office.scopes == "email openid"


def test_origins_that_may_frame_us_are_kept_once_in_their_one_form(clinic: Database) -> None:
    made = saved(clinic, frame_ancestors=["https://EHR.example:443", "https://ehr.example/", "http://localhost:9000"])
    assert made.frame_ancestors == ("https://ehr.example", "http://localhost:9000")


@pytest.mark.security("S11")
def test_an_address_belongs_to_one_issuer_and_a_provider_is_no_ehr(clinic: Database) -> None:
    saved(clinic)
    with pytest.raises(Conflict, match="clinic"):
        saved(clinic, "north")
    with pytest.raises(NotFound, match="connection add nope"):
        saved(clinic, "nope")
    login = terms(url="https://login.example", subject_claim="email")
    with clinic.begin() as tx:
        office = issuers.of_provider(tx, "office", login, KEY, NOW)
        assert (office.kind, office.connection, office.options) == (PROVIDER, None, {"subject_claim": "email"})
        assert issuers.named(tx, "https://login.example") is None
        assert issuers.named(tx, "https://login.example", PROVIDER) == office
        with pytest.raises(NotFound):
            issuers.get(tx, "office")
        for key in ("clinic", "Office", "", "x" * 21):
            with pytest.raises((Conflict, UsageError)):
                issuers.of_provider(tx, key, login, KEY, NOW)


@pytest.mark.security("S50")
def test_taking_an_issuer_away_ends_its_sessions_and_no_other(clinic: Database) -> None:
    made, north = saved(clinic), saved(clinic, "north", url="https://north.example/fhir")
    ids = []
    with clinic.begin() as tx:
        before = epochs.epoch(tx)
        for one in (made, north):
            who, _ = accounts.add(
                tx, "Ann", ["rn"], known=("rn",), now=NOW, connection=one.key, fhir_user="Practitioner/7"
            )
            ids.append(launches.begin(tx, who, now=NOW, lifetime=timedelta(hours=1), issuer=one)[0].id)
        assert issuers.remove(tx, "clinic", NOW)
        assert not issuers.remove(tx, "clinic", NOW)
        assert epochs.epoch(tx) > before
    with clinic.read() as tx:
        ended = [one.ended_why for one in (stored.find(tx, id_) for id_ in ids) if one]
        assert issuers.named(tx, made.url) is None
    assert ended == ["issuer-removed", ""]
