from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.merging import Merged, Texts, merge, over
from fhir_tracker.ownership import Owner

FIELDS = ("status", "owner", "priority", "description", "_description")
OWNERS: list[Owner] = ["ehr", "ours", "ask"]
texts = st.fixed_dictionaries(
    {"resourceType": st.just("Task")},
    optional={
        **{name: st.sampled_from(["a", "b", "c"]) for name in FIELDS},
        "note": st.lists(st.builds(lambda text: {"text": text}, st.sampled_from("xyz")), unique_by=str, max_size=3),
    },
)
owned = st.fixed_dictionaries({name: st.sampled_from(OWNERS) for name in (*FIELDS, "note")})


def merged(base: Resource, theirs: Resource, ours: Resource, owners: dict[str, Owner]) -> Merged:
    sides = (Texts(before=base, now=ours), Texts(before=base, now=theirs))
    return merge(*sides, as_theirs=ours, owner=lambda name: owners[name])


@given(base=texts, theirs=texts, ours=texts, owners=owned)
def test_no_field_of_theirs_is_lost_but_what_we_own_or_changed_alone(
    base: Resource, theirs: Resource, ours: Resource, owners: dict[str, Owner]
) -> None:
    found = merged(base, theirs, ours, owners)
    written = over(theirs, ours, found.send, base)
    for name in theirs.keys() - {"resourceType"}:
        plain = name.removeprefix("_")
        if name == "note":
            assert [one for one in theirs["note"] if one not in written["note"]] == []
        elif owners[plain] == "ehr" or plain not in found.send:
            assert written[name] == theirs[name]
        else:
            we_changed = any(base.get(one) != ours.get(one) for one in (plain, f"_{plain}"))
            they_changed = any(base.get(one) != theirs.get(one) for one in (plain, f"_{plain}"))
            assert owners[plain] == "ours" or (we_changed and not they_changed)


@given(base=texts, theirs=texts, ours=texts, owners=owned)
def test_what_was_merged_once_is_not_merged_again(
    base: Resource, theirs: Resource, ours: Resource, owners: dict[str, Owner]
) -> None:
    found = merged(base, theirs, ours, owners)
    if found.conflicts:
        return
    written, kept = over(theirs, ours, found.send, base), over(ours, theirs, found.take, base)
    again = merge(
        Texts(before=kept, now=kept),
        Texts(before=written, now=written),
        as_theirs=kept,
        owner=lambda name: owners[name],
    )
    assert again == Merged(send=(), take=(), conflicts=())


@given(base=texts, theirs=texts, ours=texts)
def test_a_conflict_is_one_from_either_side(base: Resource, theirs: Resource, ours: Resource) -> None:
    asked: dict[str, Owner] = dict.fromkeys((*FIELDS, "note"), "ask")
    one, other = merged(base, theirs, ours, asked), merged(base, ours, theirs, asked)
    assert (one.conflicts, one.send, one.take) == (other.conflicts, other.take, other.send)


@given(base=texts, theirs=texts, owners=owned)
def test_without_a_change_of_ours_only_what_we_own_is_written(
    base: Resource, theirs: Resource, owners: dict[str, Owner]
) -> None:
    found = merged(base, theirs, base, owners)
    assert found.conflicts == ()
    assert all(name == "note" or owners[name] == "ours" for name in found.send)
    assert found.send == () or base != theirs


@given(base=texts, theirs=texts, ours=texts)
def test_a_decision_settles_its_field_and_no_other(base: Resource, theirs: Resource, ours: Resource) -> None:
    asked: dict[str, Owner] = dict.fromkeys((*FIELDS, "note"), "ask")
    before = merged(base, theirs, ours, asked)
    for name in before.conflicts:
        sides = (Texts(before=base, now=ours), Texts(before=base, now=theirs))
        after = merge(*sides, as_theirs=ours, owner=lambda one: asked[one], decided={name: "theirs"})
        assert set(after.conflicts) == set(before.conflicts) - {name}
        assert name in after.take


def test_what_the_ehr_adds_to_a_field_of_ours_that_we_do_not_fill_stays_there() -> None:
    base: Resource = {"resourceType": "Task", "status": "requested"}
    theirs = base | {"extension": [{"url": "https://ehr.example/row", "valueString": "7"}]}
    found = merge(Texts(before=base, now=base), Texts(before=base, now=theirs), as_theirs=base, owner=lambda _: "ours")
    assert found == Merged(send=(), take=(), conflicts=())


def test_both_may_add_notes_and_each_gets_the_others() -> None:
    base: Resource = {"resourceType": "Task", "note": [{"text": "first"}]}
    ours, theirs = ({**base, "note": [*base["note"], {"text": text}]} for text in ("ours", "theirs"))
    found = merge(Texts(before=base, now=ours), Texts(before=base, now=theirs), as_theirs=ours, owner=lambda _: "ask")
    assert (found.send, found.take, found.conflicts) == (("note",), ("note",), ())
    assert [one["text"] for one in over(theirs, ours, ("note",), base)["note"]] == ["first", "theirs", "ours"]
    assert [one["text"] for one in over(ours, theirs, ("note",), base)["note"]] == ["first", "ours", "theirs"]
