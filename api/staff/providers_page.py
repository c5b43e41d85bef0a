"""Login providers: OpenID providers that vouch for staff outside an EHR, for those who look after people."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.responses import Response

from api.staff.frames import frame_of
from api.staff.rendering import answer
from api.staff.shapes import Field, Form
from api.staff.smart_form import addresses_of
from api.staff.terms_form import terms_form
from api.staff.visit import Visit
from fhir_tracker.storage import issuers
from fhir_tracker.storage.issuers import PROVIDER, Issuer

PATH = "/login-providers"


@dataclass(frozen=True, kw_only=True)
class ProviderCard:
    """One provider with its terms; `open` where they were refused just now."""

    key: str
    label: str
    url: str
    form: Form
    open: bool


def providers_page(visit: Visit, refused: Form | None = None, *, status: int = 200) -> Response:
    """GET `/login-providers`; `refused` is a form that could not be taken."""
    with visit.context.database.read() as tx:
        found = [one for one in issuers.all(tx) if one.kind == PROVIDER]
        frame = frame_of(tx, visit, "Login providers", "/setup")
    keys = dict(refused.hidden) if refused else {}
    cards = [_card(one, refused if refused and keys.get("key") == one.key else None) for one in found]
    new = refused if refused and not keys else provider_form(None)
    redirect = dict(addresses_of(visit))["Redirect"]
    return answer("providers.html", frame, status=status, providers=cards, new=new, redirect=redirect)


def provider_form(one: Issuer | None) -> Form:
    """The terms of a provider there is, or those of a new one with its key."""
    form = terms_form(one, PATH, kind=PROVIDER)
    if one is not None:
        return replace(form, hidden=(("key", one.key),), primary=False)
    key = Field(name="key", label="Key", required=True, hint="1 to 20 of a-z, 0-9 and hyphen, such as office.")
    return replace(form, fields=(key, *form.fields))


def _card(one: Issuer, refused: Form | None) -> ProviderCard:
    form = refused or provider_form(one)
    return ProviderCard(key=one.key, label=one.label or one.key, url=one.url, form=form, open=refused is not None)
