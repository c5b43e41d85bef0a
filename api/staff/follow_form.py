"""By which terms an EHR is followed, as a form: how often, which types, told or not, what is written there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from api.staff.setup_form import beside
from api.staff.shapes import Choice, Field, Form
from fhir_tracker import connections
from fhir_tracker.connections import SUBSCRIBE
from fhir_tracker.errors import UsageError
from fhir_tracker.model.allowance import FORM, read_allowance
from fhir_tracker.search_seen import AUTO, WAYS
from fhir_tracker.storage.connections import Connection

OPEN_WAYS: Mapping[str, str] = {"none": "not at all", "private_key_jwt": "by our own keys (SMART Backend Services)"}
"""Ways to show who we are without a secret: those are files on the server, which no page names."""
FLAGS: Mapping[str, str] = {
    "--poll": "poll",
    "--types": "types",
    "--subscribe": "subscribe",
    "--write-back": "write_back",
    "--budget": "budget",
    "--search-by": "search_by",
    "--auth": "auth",
    "--client-id": "client_id",
    "--token-url": "token_url",
    "--scopes": "scopes",
}
"""What the command line calls each field."""
TOLD = "“none” polls. The others ask the EHR to tell of changes, and poll besides."
SECRETS = "Ways with a secret are set up on the server: fhir-tracker connection add --help."
_NAMED = ("client_id", "token_url", "scopes")
_OF_KEYS = (*_NAMED, "jku")


def follow_form(one: Connection) -> Form:
    """The terms there are; how we show who we are only where that needs no secret."""
    return Form(
        action=f"/connections/{one.key}/terms",
        submit="Follow it so",
        fields=(*_following(one), *(show_fields(one) if is_open(one) else ())),
    )


def leave_form(one: Connection) -> Form:
    """The last step, which has to be meant: the key is typed."""
    return Form(
        action=f"/connections/{one.key}/remove",
        submit="Stop following it",
        hint="What came from there stays readable, with its history. Nobody is let in from there any more: whoever came in "
        "by it, maybe you, is logged off.",
        primary=False,
        fields=(Field(name="confirm", label=f"To go on, type {one.key}", required=True, autocomplete="off"),),
    )


def follow_fields(one: Connection | None = None) -> tuple[Field, ...]:
    """How often an EHR is asked, and whether it tells; of a new one the usual."""
    poll = _span(one.poll_seconds) if one else "30s"
    return (
        Field(name="poll", label="Ask for changes every", value=poll, hint="Such as 30s or 5m."),
        select("subscribe", "Be told of changes", {name: name for name in SUBSCRIBE}, one.subscribe if one else "none", TOLD),
    )  # fmt: skip


def show_fields(one: Connection | None = None) -> tuple[Field, ...]:
    """How we show who we are, without a secret; of a new one not at all."""
    options = one.options if one else {}
    values = {name: str(options.get(name, "")) for name in _NAMED}
    return (
        select("auth", "We show who we are", OPEN_WAYS, str(options.get("auth", "none")), SECRETS),
        Field(name="client_id", label="As whom the EHR knows us", value=values["client_id"], autocomplete="off"),
        Field(
            name="token_url",
            label="Where tokens are given out",
            value=values["token_url"],
            hint="Empty: the server is asked.",
        ),
        Field(name="scopes", label="What we ask for", value=values["scopes"], hint="Empty: system/*.read"),
    )


def select(name: str, label: str, choices: Mapping[str, str], value: str, hint: str = "") -> Field:
    """One of several, as a field."""
    options = tuple(Choice(value=code, label=words) for code, words in choices.items())
    return Field(name=name, label=label, kind="select", value=value, choices=options, hint=hint)


def is_open(one: Connection) -> bool:
    """Whether a connection shows who we are without a secret."""
    return str(one.options.get("auth", "none")) in OPEN_WAYS


def followed_by(one: Connection, form: Mapping[str, str]) -> Connection:
    """The connection by the terms that were typed; what the form does not show stays. UsageError, beside its field."""
    typed = {name: form.get(name, "").strip() for name in FLAGS.values()}
    with beside("poll"):
        seconds = connections.seconds(typed["poll"])
    with beside("types"):
        types = connections.checked_types(_names(typed["types"]))
    options = _kept(one.options, "write_back", _names(typed["write_back"]))
    with beside("budget"):
        if typed["budget"]:
            read_allowance(typed["budget"])
    options = _kept(options, "budget", typed["budget"])
    options = _kept(options, "search_by", typed["search_by"], AUTO)
    if is_open(one):
        options = _shown(options, typed)
    changed = replace(
        one, poll_seconds=seconds, types=types, subscribe=typed["subscribe"] or one.subscribe, options=options
    )
    with beside("write_back"):
        connections.checked_options(changed.options)
    connections.check_terms(changed)
    return changed


def options_of(form: Mapping[str, str]) -> dict[str, Any]:
    """How we show who we are, as a new connection keeps it; UsageError for a way that needs a secret."""
    return _shown({}, {name: form.get(name, "").strip() for name in ("auth", *_NAMED)}) | {
        "auth": form.get("auth", "none")
    }


def differences(before: Connection, changed: Connection) -> dict[str, object]:
    """What the trail tells of a change: each term that is another one now. None of them is a secret."""
    found: dict[str, object] = {
        name: getattr(changed, name)
        for name in ("poll_seconds", "types", "subscribe")
        if getattr(changed, name) != getattr(before, name)
    }
    names = sorted({*before.options, *changed.options})
    return found | {
        name: changed.options.get(name) for name in names if before.options.get(name) != changed.options.get(name)
    }


def _following(one: Connection) -> tuple[Field, ...]:
    types = "Empty: every type of use that the server can search. Otherwise types such as Patient, Task."
    return (
        *follow_fields(one),
        Field(name="types", label="Only these types", value=", ".join(one.types), hint=types),
        Field(
            name="write_back",
            label="Types that are written there",
            value=", ".join(one.options.get("write_back", ())),
            hint="Such as Task. Empty: nothing is written there.",
        ),
        Field(
            name="budget",
            label="Requests a minute",
            value=str(one.options.get("budget", "")),
            hint=f"{FORM.replace('`', '')}. Empty: as many as are needed.",
        ),
        select(
            "search_by",
            "Searches about a patient go by",
            {name: name.upper() if name != AUTO else "what it takes" for name in WAYS},
            str(one.options.get("search_by", AUTO)),
        ),
    )


def _shown(options: Mapping[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    with beside("auth"):
        if (typed["auth"] or "none") not in OPEN_WAYS:
            raise UsageError(SECRETS)
    kept = _kept(options, "auth", typed["auth"], "none")
    if kept.get("auth", "none") == "none":
        kept = {name: value for name, value in kept.items() if name not in _OF_KEYS}
    for name in _NAMED:
        kept = _kept(kept, name, typed[name])
    return kept


def _kept(options: Mapping[str, Any], name: str, value: Any, usual: str = "") -> dict[str, Any]:
    """The options with this one; without it where it is empty, or the usual that was not named before either."""
    others = {one: kept for one, kept in options.items() if one != name}
    is_usual = not value or (value == usual and name not in options)
    return others if is_usual else {**others, name: value}


def _names(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _span(seconds: int) -> str:
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"
