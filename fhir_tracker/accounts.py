"""Accounts of the staff: who may come in, as whom an issuer knows them, with which roles."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import SplitResult, urlsplit

from fhir_tracker import records
from fhir_tracker.errors import NotFound, UsageError
from fhir_tracker.fhir.identity import is_legal_id, local_id
from fhir_tracker.storage import accounts, epochs, issuers, launches
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx

USER_TYPES = ("Practitioner", "PractitionerRole", "RelatedPerson")
_LONGEST = 200
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


def add(
    tx: Tx,
    name: str,
    roles: Sequence[str],
    *,
    known: Collection[str],
    now: datetime,
    connection: str | None = None,
    fhir_user: str = "",
    provider: str | None = None,
    subject: str = "",
) -> tuple[Account, bool]:
    """Let a person in, with `roles` out of the `known` ones; True when they had an account, which is changed to that.

    Somebody of an EHR is named by `connection` and `fhir_user` (`Practitioner/123`), of a login provider by `provider` and
    `subject`. UsageError for a name, role or person that makes no sense. What is remembered of rights is old from then on.
    """
    name, roles = checked_name(name), checked_roles(roles, known)
    before = None
    if connection is not None:
        fhir_user = checked_user(fhir_user)
        before = accounts.of_user(tx, connection, fhir_user)
    elif provider is not None:
        subject = _known_subject(tx, provider, checked_subject(subject))
        before = accounts.of_subject(tx, provider, subject)
    if before is not None:
        made = replace(before, name=name, roles=roles, active=True, changed_at=now)
    else:
        id_ = records.fresh_id(now)
        made = Account(
            id=id_,
            ref=ref_of(connection, fhir_user) if connection is not None else f"Practitioner/{id_}",
            name=name,
            roles=roles,
            connection=connection,
            fhir_user=fhir_user,
            provider=provider,
            subject=subject,
            created_at=now,
            changed_at=now,
        )
    accounts.save(tx, made)
    epochs.bump(tx)
    return made, before is not None


def _known_subject(tx: Tx, provider: str, subject: str) -> str:
    """A subject as it is kept: mail addresses without their case, unless somebody has that very one."""
    issuer = issuers.find(tx, provider)
    is_email = issuer is not None and issuer.options.get("subject_claim") == "email"
    return subject.lower() if is_email and accounts.of_subject(tx, provider, subject) is None else subject


def change_roles(tx: Tx, id_: str, roles: Sequence[str], *, known: Collection[str], now: datetime) -> Account:
    """Let somebody in with these roles, also who was switched off; NotFound, and UsageError for roles there are not."""
    made = replace(get(tx, id_), roles=checked_roles(roles, known), active=True, changed_at=now)
    accounts.save(tx, made)
    epochs.bump(tx)
    return made


def disable(tx: Tx, id_: str, now: datetime) -> Account:
    """Let a person in no more, from the next request on; their sessions end, their account is kept. NotFound when there is none."""
    made = replace(get(tx, id_), active=False, changed_at=now)
    accounts.save(tx, made)
    launches.end_of_account(tx, id_, now, "disabled")
    epochs.bump(tx)
    return made


def get(tx: Tx, id_: str) -> Account:
    """The account with that id; NotFound when there is none."""
    found = accounts.find(tx, id_)
    if found is None:
        raise NotFound("There is no such account; see: fhir-tracker staff list")
    return found


def find(tx: Tx, words: str, connection: str | None = None) -> Account:
    """The one account that `words` name: its id, its reference here, or whom its EHR or provider calls so.

    `connection` tells apart those whom two EHRs call the same. NotFound for nobody, UsageError when several fit.
    """
    mine = [one for one in accounts.all(tx) if words in (one.id, one.ref, one.fhir_user, one.subject) and words]
    fits = [one for one in mine if connection is None or connection in (one.connection, one.provider)]
    if not fits:
        raise NotFound("Nobody has such an account; see: fhir-tracker staff list")
    if len(fits) > 1:
        raise UsageError(f"{len(fits)} accounts are called so: say which by --connection, or by its id.")
    return fits[0]


def ref_of(connection: str, fhir_user: str) -> str:
    """The reference here of whom an EHR calls `fhir_user`."""
    type_, _, remote_id = fhir_user.partition("/")
    return f"{type_}/{local_id(connection, remote_id, type_)}"


def user_of(fhir_user: str, base: str) -> str | None:
    """`Practitioner/123` for the `fhirUser` of a token, absolute or relative; None when it is of another server than `base`.

    https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-identity-data
    """
    text = fhir_user
    if "://" in text:
        text = _below(text, base)
    match = _REFERENCE.fullmatch(text)
    return f"{match[1]}/{match[2]}" if match and match[1] in USER_TYPES else None


def _below(url: str, base: str) -> str:
    """What follows `base` in `url`, host names without their case and usual ports; empty when `url` is elsewhere."""
    try:
        given, ours = urlsplit(url), urlsplit(base)
        same = _host_of(given) == _host_of(ours)
    except ValueError:
        return ""
    path = f"{ours.path.rstrip('/')}/"
    is_below = same and given.path.startswith(path) and not (given.query or given.fragment)
    return given.path.removeprefix(path).removeprefix("/") if is_below else ""


def _host_of(parts: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host (with a user, which is none of ours), and port; ValueError for what cannot be one."""
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.netloc.lower().removesuffix(f":{parts.port}"), parts.port or usual


def checked_user(fhir_user: str) -> str:
    """`Practitioner/ID` as an EHR calls somebody; UsageError for anything else."""
    type_, _, id_ = fhir_user.partition("/")
    if type_ not in USER_TYPES or not is_legal_id(id_):
        raise UsageError(f"--fhir-user is one of {', '.join(USER_TYPES)} with the id it has there: Practitioner/123.")
    return fhir_user


def checked_subject(subject: str) -> str:
    """Who somebody is at a login provider: one line of text."""
    if not subject or not subject.isprintable() or subject != subject.strip() or len(subject) > _LONGEST:
        raise UsageError("--subject is what the provider calls the person: one line without spaces around it.")
    return subject


def checked_name(name: str) -> str:
    """A name as people read it; UsageError for none, and for one that is no line of text."""
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST:
        raise UsageError("--name is one line of text, such as --name 'Ann Example, RN'.")
    return name.strip()


def checked_roles(roles: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Roles out of those there are, each once; UsageError names the nearest for one that is not."""
    if not roles:
        raise UsageError(f"Somebody without a role may do nothing; --role is one of {', '.join(sorted(known))}.")
    for one in roles:
        if one not in known:
            near = difflib.get_close_matches(one, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known))}."
            raise UsageError(f"There is no role {one!r}: {hint}")
    return tuple(dict.fromkeys(roles))
