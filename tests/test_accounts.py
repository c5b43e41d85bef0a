"""Accounts: who may come in, as whom an issuer knows them, and with which roles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker import accounts
from fhir_tracker.errors import NotFound, UsageError
from fhir_tracker.storage import accounts as stored
from fhir_tracker.storage import epochs
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ROLES = ("rn", "provider", "front-desk")
BASE = "https://ehr.example/fhir"


def ann(
    database: Database, *, connection: str = "clinic", roles: tuple[str, ...] = ("rn",), now: datetime = NOW
) -> Account:
    with database.begin() as tx:
        made, _ = accounts.add(
            tx, "Ann Example", roles, known=ROLES, now=now, connection=connection, fhir_user="Practitioner/7"
        )
    return made


def test_somebody_of_an_ehr_acts_here_as_the_mirrored_practitioner(database: Database) -> None:
    made = ann(database)
    assert (made.ref, made.roles, made.active) == ("Practitioner/clinic-7", ("rn",), True)
    with database.read() as tx:
        assert stored.of_user(tx, "clinic", "Practitioner/7") == made == stored.find(tx, made.id)
        assert stored.of_user(tx, "other", "Practitioner/7") is None
        assert stored.of_user(tx, "clinic", "PractitionerRole/7") is None
        assert stored.of_refs(tx, ["Practitioner/clinic-7", "Practitioner/nobody"]) == [made]


def test_adding_somebody_again_changes_roles_and_lets_them_in_again(database: Database) -> None:
    made = ann(database)
    with database.begin() as tx:
        assert not accounts.disable(tx, made.id, LATER).active
    again = ann(database, roles=("provider", "rn", "provider"), now=LATER)
    assert (again.id, again.active, again.roles, again.created_at) == (made.id, True, ("provider", "rn"), NOW)
    with database.read() as tx:
        assert stored.all(tx) == [again]


@pytest.mark.security("S50", "A2")
def test_every_change_makes_what_is_remembered_of_rights_old(database: Database) -> None:
    def epoch() -> int:
        with database.read() as tx:
            return epochs.epoch(tx)

    seen = [epoch()]
    made = ann(database)
    seen.append(epoch())
    with database.begin() as tx:
        accounts.change_roles(tx, made.id, ["provider"], known=ROLES, now=NOW)
    seen.append(epoch())
    with database.begin() as tx:
        accounts.disable(tx, made.id, NOW)
    seen.append(epoch())
    assert sorted(set(seen)) == seen


def test_the_same_id_at_two_ehrs_is_two_people_told_apart_by_connection(database: Database) -> None:
    one, two = ann(database), ann(database, connection="north")
    assert one.id != two.id
    with database.read() as tx:
        with pytest.raises(UsageError, match="--connection"):
            accounts.find(tx, "Practitioner/7")
        assert accounts.find(tx, "Practitioner/7", "north") == two
        assert accounts.find(tx, one.id) == accounts.find(tx, one.ref) == one
        for nobody in ("", "Practitioner/8", "Ann Example"):
            with pytest.raises(NotFound):
                accounts.find(tx, nobody)


def test_somebody_of_a_login_provider_acts_as_a_practitioner_of_their_own(database: Database) -> None:
    with database.begin() as tx:
        made, had = accounts.add(
            tx, "Ben", ["rn"], known=ROLES, now=NOW, provider="google", subject="ben@clinic.example"
        )
        again, has = accounts.add(
            tx, "Ben B", ["rn"], known=ROLES, now=NOW, provider="google", subject="ben@clinic.example"
        )
    assert (had, has, again.id, again.name) == (False, True, made.id, "Ben B")
    assert made.ref == f"Practitioner/{made.id}"
    with database.read() as tx:
        assert stored.of_subject(tx, "google", "ben@clinic.example") == again
        assert stored.of_subject(tx, "google", "BEN@clinic.example") is None


def test_two_local_accounts_are_never_one(database: Database) -> None:
    with database.begin() as tx:
        first, _ = accounts.add(tx, "Cy", ["rn"], known=ROLES, now=NOW)
        second, _ = accounts.add(tx, "Cy", ["rn"], known=ROLES, now=NOW)
    assert first.id != second.id


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ([], "--role is one of front-desk, provider, rn"),
        (["RN"], "there are: front-desk"),
        (["provders"], "did you mean provider?"),
        (["rn", "system"], "no role 'system'"),
        ([""], "no role ''"),
        (["rn provider"], "no role"),
    ],
)
def test_a_role_there_is_not_is_refused_with_a_hint(database: Database, roles: list[str], said: str) -> None:
    with pytest.raises(UsageError) as told, database.begin() as tx:
        accounts.add(tx, "Ann", roles, known=ROLES, now=NOW, connection="clinic", fhir_user="Practitioner/7")
    assert said in told.value.message
    with database.read() as tx:
        assert stored.all(tx) == []


@pytest.mark.parametrize(
    "user",
    [
        "",
        "7",
        "Practitioner/",
        "Practitioner/a b",
        "Patient/7",
        "practitioner/7",
        "Practitioner/7/8",
        "Practitioner/7\n",
        "https://ehr.example/fhir/Practitioner/7",
        "Device/rule-worker",
        "Practitioner/" + "7" * 65,
        "Practitioner/é",
    ],
)
def test_only_staff_of_an_ehr_can_have_an_account(database: Database, user: str) -> None:
    with pytest.raises(UsageError, match="--fhir-user"), database.begin() as tx:
        accounts.add(tx, "Ann", ["rn"], known=ROLES, now=NOW, connection="clinic", fhir_user=user)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31mred", "x" * 201])
def test_a_name_is_one_line_that_drives_no_terminal(database: Database, name: str) -> None:
    with pytest.raises(UsageError, match="--name"), database.begin() as tx:
        accounts.add(tx, name, ["rn"], known=ROLES, now=NOW, connection="clinic", fhir_user="Practitioner/7")


@pytest.mark.requirement(95)
@pytest.mark.security("S8")
@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("Practitioner/7", "Practitioner/7"),
        ("PractitionerRole/a-1.b", "PractitionerRole/a-1.b"),
        ("Practitioner/7/_history/2", "Practitioner/7"),
        (f"{BASE}/Practitioner/7", "Practitioner/7"),
        (f"{BASE}/Practitioner/7/_history/3", "Practitioner/7"),
        ("https://EHR.example/fhir/Practitioner/7", "Practitioner/7"),
        ("https://ehr.example:443/fhir/Practitioner/7", "Practitioner/7"),
        ("HTTPS://ehr.example/fhir//Practitioner/7", "Practitioner/7"),
        (f"{BASE}/PractitionerRole/r-1", "PractitionerRole/r-1"),
        (f"{BASE}/RelatedPerson/r-1", "RelatedPerson/r-1"),
        (f"{BASE}/Person/r-1", None),
        (f"{BASE}///Practitioner/7", None),
        (f"{BASE}/Practitioner/7/", None),
        (f"{BASE}/practitioner/7", None),
        ("https://ehr.example/FHIR/Practitioner/7", None),
        ("https://ehr.example:80/fhir/Practitioner/7", None),
        ("https://ehr.example:/fhir/Practitioner/7", None),
        ("https://ehr.example:443@evil.example/fhir/Practitioner/7", None),
        ("https://ehr.example:99999/fhir/Practitioner/7", None),
        ("https://ehr.example./fhir/Practitioner/7", None),
        ("Practitioner/7\n", None),
        ("Practitioner/\N{ARABIC-INDIC DIGIT SEVEN}", None),
        ("https://evil.example/fhir/Practitioner/7", None),
        ("https://ehr.example.evil.example/fhir/Practitioner/7", None),
        ("https://ehr.example@evil.example/fhir/Practitioner/7", None),
        ("https://evil@ehr.example/fhir/Practitioner/7", None),
        ("http://ehr.example/fhir/Practitioner/7", None),
        ("https://ehr.example:8443/fhir/Practitioner/7", None),
        ("https://ehr.example/fhirs/Practitioner/7", None),
        ("https://ehr.example/other/Practitioner/7", None),
        ("https://ehr.example/fhir/../fhir/Practitioner/7", None),
        ("https://ehr.example/fhir/Practitioner/7?x=1", None),
        ("https://ehr.example/fhir/Practitioner/7#x", None),
        ("//ehr.example/fhir/Practitioner/7", None),
        ("https://[::1/fhir/Practitioner/7", None),
        ("Patient/7", None),
        ("Practitioner", None),
        ("Practitioner/", None),
        ("Practitioner/%37", None),
        ("../Practitioner/7", None),
        ("", None),
    ],
)
def test_who_a_token_names_is_taken_from_the_same_fhir_base_only(told: str, found: str | None) -> None:
    assert accounts.user_of(told, BASE) == found
    assert accounts.user_of(told, f"{BASE}/") == found
