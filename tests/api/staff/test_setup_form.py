"""Forms that set things up: what is wrong stands beside the field that it is about, in words of the page."""

from __future__ import annotations

import pytest

from api.staff.setup_form import beside, chosen, filled, told
from api.staff.shapes import Choice, Field, Form
from fhir_tracker.errors import Conflict, Incorrect, TrackerError, UsageError

FORM = Form(
    action="/somewhere",
    submit="Keep",
    fields=(
        Field(name="url", label="Address", value="https://before.example"),
        Field(name="kind", label="Client type", kind="select", choices=(Choice(value="a", label="a"),), value="a"),
        Field(name="secret", label="Secret", kind="password"),
        Field(name="role", label="Roles", kind="ticks", choices=(Choice(value="rn", label="RN"),), value="rn"),
        Field(name="fresh", label="Anew", kind="tick", value="on"),
    ),
)
FLAGS = {"--base-url": "url", "--client-type": "kind", "--secret-file": "secret", "--elsewhere": "not-shown"}


@pytest.mark.parametrize(
    ("error", "field", "said"),
    [
        (UsageError("--base-url has to be an address."), "url", "“Address” has to be an address."),
        (UsageError("--client-type x needs --secret-file."), "kind", "“Client type” x needs “Secret”."),
        (UsageError("x needs --secret-file and --base-url."), "secret", "x needs “Secret” and “Address”."),
        (UsageError("--elsewhere is odd."), None, "--elsewhere is odd."),
        (UsageError("--unknown and --base-url clash."), "url", "--unknown and “Address” clash."),
        (Incorrect("It is odd.", expression="role"), "role", "It is odd."),
        (Incorrect("It is odd.", expression="Task.status"), None, "It is odd."),
        (Conflict("There is one."), None, "There is one."),
    ],
)
def test_a_message_stands_beside_the_field_that_it_names_first(
    error: TrackerError, field: str | None, said: str
) -> None:
    form = told(FORM, error, FLAGS)
    assert {one.name: one.error for one in form.fields if one.error} == ({field: said} if field else {})
    assert form.error == ("" if field else said)
    assert [one.value for one in form.fields] == [one.value for one in FORM.fields]


def test_what_was_typed_stays_but_for_secrets_and_boxes_that_are_not_ticked_any_more() -> None:
    given = {"url": "<b>", "kind": "b", "secret": "made-up", "role.rn": "on", "role.odd": "on", "csrf": "x"}
    assert {one.name: one.value for one in filled(FORM, given).fields} == {
        "url": "<b>",
        "kind": "b",
        "secret": "",
        "role": "rn odd",
        "fresh": "",
    }
    assert chosen({"role.a": "on", "roles.b": "on", "role": "c"}, "role") == ["a"]


def test_only_what_makes_no_sense_is_put_beside_a_field() -> None:
    with pytest.raises(UsageError) as found, beside("role"):
        raise UsageError("No.")
    assert found.value.issues[0].expression == "role"
    with pytest.raises(Conflict) as other, beside("role"):
        raise Conflict("Taken.")
    assert other.value.issues[0].expression is None
