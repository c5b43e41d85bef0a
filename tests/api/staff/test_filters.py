from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.staff import filters
from api.staff.filters import Wanted
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.queue import AGES, QueueFilter

NURSE = Viewer(who="Practitioner/nurse", name="The nurse", roles=frozenset({"rn"}), sight=EVERYTHING)


def asked(href: str, viewer: Viewer) -> QueueFilter:
    return filters.to_filter(filters.read(dict(parse_qsl(urlsplit(href).query)), viewer), viewer, "UTC")


def test_without_words_a_nurse_sees_her_team_and_open_mode_all_teams() -> None:
    assert asked("/", NURSE) == QueueFilter(role="rn")
    assert asked("/", open_viewer()) == QueueFilter()


def test_my_work_is_mine_in_whatever_team() -> None:
    assert asked("/?tab=mine&role=provider&owner=none", NURSE) == QueueFilter(owner="Practitioner/nurse", teams=True)


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("/?tab=unassigned", QueueFilter(role="rn", unassigned=True)),
        ("/?tab=hold", QueueFilter(role="rn", state="hold")),
        ("/?tab=hold&state=late", QueueFilter(role="rn", state="hold")),
        ("/?tab=done&role=every", QueueFilter(state="done")),
        (
            "/?tab=team&state=late&owner=none&program=none",
            QueueFilter(role="rn", state="late", unassigned=True, no_program=True),
        ),
        ("/?tab=nonsense&state=nonsense", QueueFilter(role="rn")),
        ("/?role=none", QueueFilter(no_role=True)),
    ],
)
def test_an_address_becomes_the_stores_filter(href: str, wanted: QueueFilter) -> None:
    assert asked(href, NURSE) == wanted


def test_a_change_of_filter_begins_at_the_first_page() -> None:
    assert "after" not in Wanted(after="1.2", q="x").href(program="tcm")


NAMES = st.one_of(
    st.none(), st.text("abc-/", min_size=1, max_size=8).filter(lambda text: text not in ("none", "every"))
)


@given(
    chosen=st.builds(
        QueueFilter,
        role=NAMES,
        owner=NAMES,
        state=st.sampled_from(["open", "late", "hold", "escalated", "due-today", "due-week", "done", "any"]),
        program=NAMES,
        status=NAMES,
        flag=NAMES,
        text=NAMES,
        kind=NAMES,
        reason=NAMES,
        age=st.one_of(st.none(), st.sampled_from(list(AGES))),
        escalated_by=NAMES,
    )
)
def test_the_address_of_a_number_asks_for_what_was_counted(chosen: QueueFilter) -> None:
    assert asked(filters.of_filter(chosen).href(), NURSE) == chosen


@pytest.mark.parametrize(
    "chosen", [QueueFilter(unassigned=True), QueueFilter(no_role=True), QueueFilter(no_program=True, status="x")]
)
def test_what_lacks_something_has_an_address_too(chosen: QueueFilter) -> None:
    assert asked(filters.of_filter(chosen).href(), NURSE) == chosen
