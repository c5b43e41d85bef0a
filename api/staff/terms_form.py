"""By which terms an issuer vouches for staff, as a form: of an EHR's connection, or of a login provider outside."""

from __future__ import annotations

from collections.abc import Mapping

from api.staff.shapes import Choice, Field, Form
from fhir_tracker import issuers
from fhir_tracker.issuers import CLIENT_TYPES, SUBJECT_CLAIMS, VIEWS, Terms
from fhir_tracker.storage.issuers import CONNECTION, Issuer

FLAGS: Mapping[str, str] = {
    "--issuer": "issuer",
    "--client-id": "client_id",
    "--client-type": "client_type",
    "--client-secret-file": "secret",
    "--scopes": "scopes",
    "--label": "label",
    "--frame-ancestor": "frame_ancestors",
    "--intent": "intents",
    "--subject": "subject",
}
"""What the command line calls each field."""
_FRAMES = "Origins such as https://ehr.example.org, one a line. Without any, no page frames us."
_INTENTS = f"What an intent of the EHR opens, one a line: NAME=VIEW, with a VIEW of {', '.join(VIEWS)}."
_SCOPES = "Empty: who the person is, the chart, and staying while they work."
_USER = "Read the chart that is opened in the person's own name"


def terms_form(one: Issuer | None, action: str, *, kind: str = CONNECTION, url: str = "") -> Form:
    """The terms there are, or a proposal with the address `url`; never the secret."""
    further = _of_ehr(one) if kind == CONNECTION else _of_provider(one)
    submit = "Keep" if one else "Let staff in" if kind == CONNECTION else "Add the provider"
    return Form(action=action, submit=submit, fields=(*_fields(one, kind, url), *further))


def terms_of(form: Mapping[str, str], before: Issuer | None) -> Terms:
    """What was typed; terms that the form does not show stay as they are. UsageError for intents that are none."""
    options = before.options if before else {}
    return Terms(
        url=form.get("issuer", "").strip(),
        client_id=form.get("client_id", "").strip(),
        client_type=form.get("client_type", ""),
        secret=form.get("secret", "").strip(),
        scopes=" ".join(form.get("scopes", "").split()),
        label=form.get("label", "").strip(),
        frame_ancestors=form.get("frame_ancestors", "").split(),
        introspection_url=str(options.get("introspection_url", "")),
        checks_pkce=not options.get("pkce_unchecked"),
        posts=bool(options.get("posts")),
        reads_as_user="reads_as_user" in form,
        endpoint_origins=tuple(options.get("endpoint_origins", ())),
        intents=issuers.intents_of(form.get("intents", "").split()),
        subject_claim=form.get("subject", ""),
    )


def said_of(made: Issuer) -> dict[str, object]:
    """What the trail tells of terms that were kept; never the secret."""
    return {
        "issuer": made.url,
        "clientId": made.client_id,
        "clientType": made.client_type,
        "scopes": made.scopes,
        "frameAncestors": list(made.frame_ancestors),
        "intents": dict(made.options.get("intents", {})),
        "readsAsUser": bool(made.options.get("reads_as_user")),
    }


def _fields(one: Issuer | None, kind: str, url: str) -> tuple[Field, ...]:
    has_secret = bool(one and one.sealed_secret)
    kept = "There is one; leave this empty to keep it."
    return (
        Field(
            name="issuer",
            label="Issuer",
            value=issuers.audience(one) if one else url,
            required=True,
            hint="The FHIR base that the EHR names as iss." if kind == CONNECTION else "The provider's OpenID address.",
        ),
        Field(
            name="client_id", label="Client id", value=one.client_id if one else "", required=True, autocomplete="off"
        ),
        Field(
            name="client_type",
            label="Client type",
            kind="select",
            value=one.client_type if one else CLIENT_TYPES[0],
            choices=tuple(Choice(value=name, label=name) for name in CLIENT_TYPES),
        ),
        Field(
            name="secret",
            label="Secret",
            kind="password",
            autocomplete="off",
            hint=kept if has_secret else "For confidential-symmetric only; kept sealed, and shown to nobody.",
        ),
        Field(
            name="scopes", label="Scopes", value=one.scopes if one else "", hint=_SCOPES if kind == CONNECTION else ""
        ),
        Field(
            name="label",
            label="What people call it",
            value=one.label if one else "",
            hint="On the page where people choose how to log in.",
        ),
    )


def _of_ehr(one: Issuer | None) -> tuple[Field, ...]:
    intents = one.options.get("intents", {}) if one else {}
    reads = "on" if one and one.options.get("reads_as_user") else ""
    return (
        Field(
            name="frame_ancestors",
            label="May show us in a frame",
            kind="textarea",
            value="\n".join(one.frame_ancestors) if one else "",
            hint=_FRAMES,
        ),
        Field(
            name="intents",
            label="Intents",
            kind="textarea",
            value="\n".join(f"{name}={view}" for name, view in intents.items()),
            hint=_INTENTS,
        ),
        Field(name="reads_as_user", label=_USER, kind="tick", value=reads),
    )


def _of_provider(one: Issuer | None) -> tuple[Field, ...]:
    return (
        Field(
            name="subject",
            label="People are known there by",
            kind="select",
            value=str(one.options.get("subject_claim", "sub")) if one else SUBJECT_CLAIMS[0],
            choices=tuple(Choice(value=name, label=name) for name in SUBJECT_CLAIMS),
            hint="The provider has to vouch for mail addresses (email_verified).",
        ),
    )
