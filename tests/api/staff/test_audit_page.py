"""The trail on pages: who looked at a patient, what was denied, and that looking is written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.staff.acts import needs_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage import audit, trail
from fhir_tracker.storage.audit_chain import Sealer
from fhir_tracker.storage.audit_rows import Access
from tests.api.staff.conftest import Reader
from tests.support.clinic import Clinic

ANN = Viewer(
    who="Practitioner/ann", name="Ann Rivers", roles=frozenset({"rn"}), client="tracker-app", address="192.0.2.7"
)
BOB = Viewer(who="Practitioner/bob", name="Bob <b>Stone</b>", roles=frozenset({"provider"}), purpose="BTG")


@pytest.fixture
def looked(clinic: Clinic, now: datetime) -> Clinic:
    """Three who looked at rosa, one by a search, and one who did not."""
    trail.add(
        clinic.database,
        [
            Access(now - timedelta(days=40), ANN, "read", "Task/t1", "rosa", "success", "r1", {}, (), "fhir"),
            Access(now - timedelta(days=2), ANN, "search", "Task", None, "success", "r2", {}, ("ida", "rosa"), "page"),
            Access(now - timedelta(days=1), BOB, "read", "Patient/rosa", "rosa", "denied", "r3", {}, (), "page"),
            Access(now, ANN, "read", "Task/t9", "ida", "success", "r4", {}, (), "fhir"),
        ],
    )
    return clinic


@pytest.mark.security("B3")
@pytest.mark.parametrize("is_sealed", [False, True])
def test_who_looked_at_a_patient_is_shown_with_role_and_way(
    reader: Reader, looked: Clinic, now: datetime, *, is_sealed: bool
) -> None:
    if is_sealed:
        Sealer(looked.database).finish(now, 30)
    page = reader.get("/patients/rosa/access")
    assert page.status == 200
    assert page.text.count("Ann Rivers") == 2
    assert "Task/t9" not in page.text
    assert "Task, 2 patients listed" in page.text
    assert "FHIR API, tracker-app, 192.0.2.7" in page.text
    assert "<b>glass broken</b>" in page.text
    assert "denied" in page.text
    assert "Bob &lt;b&gt;Stone" in page.text


@pytest.mark.security("B1")
@pytest.mark.parametrize("path", ["/patients/ida/access", "/audit?patient=ida"])
def test_looks_at_a_record_that_was_merged_into_this_one_count_for_it(
    reader: Reader, looked: Clinic, now: datetime, path: str
) -> None:
    assert "Bob &lt;b&gt;Stone" not in reader.get(path).text
    link = [{"other": {"reference": "Patient/ida"}, "type": "replaced-by"}]
    looked.put({"resourceType": "Patient", "id": "rosa", "link": link}, now)
    page = reader.get(path)
    assert "Bob &lt;b&gt;Stone" in page.text
    assert "denied" in page.text
    assert "Task/t9" not in reader.get("/patients/rosa/access").text, "and not the other way round"


@pytest.mark.security("B3")
@pytest.mark.parametrize("path", ["/audit", "/patients/rosa/access", "/audit?patient=rosa"])
def test_looking_is_written_down_before_it_is_shown(reader: Reader, looked: Clinic, path: str) -> None:
    reader.get(path)
    with looked.database.read() as tx:
        row = audit.list(tx, open_viewer(), limit=1)[0]
    assert (row.action, row.ref, row.kind) == ("search", "AuditEvent", "page")
    assert row.patient == (None if path == "/audit" else "rosa")
    assert set(row.patients) == ({"ida", "rosa"} if path == "/audit" else {"ida"})


@pytest.mark.parametrize(
    ("query", "refs"),
    [
        ("patient=rosa", {"Task/t1", "Task, 2 patients listed", "Patient/rosa"}),
        ("patient=Patient/ida", {"Task, 2 patients listed", "Task/t9"}),
        ("who=Practitioner/bob", {"Patient/rosa"}),
        ("who=ann", {"Task/t1", "Task, 2 patients listed", "Task/t9"}),
        ("outcome=denied", {"Patient/rosa"}),
        ("action=read&who=ann", {"Task/t1", "Task/t9"}),
        ("who=%25", set()),
    ],
)
def test_the_trail_is_narrowed_by_what_is_asked(reader: Reader, looked: Clinic, query: str, refs: set[str]) -> None:
    page = reader.get(f"/audit?{query}")
    every = {"Task/t1", "Task, 2 patients listed", "Patient/rosa", "Task/t9"}
    assert {one for one in every if f">{one}<" in page.text} == refs


def test_days_narrow_it_and_a_day_that_is_none_is_refused(reader: Reader, looked: Clinic, now: datetime) -> None:
    day = (now - timedelta(days=40)).date().isoformat()
    page = reader.get(f"/audit?from={day}&to={day}")
    assert "Task/t1" in page.text
    assert "Task/t9" not in page.text
    for wrong in ("from=soon", "to=2026-13-01", "to=9999-12-31"):
        assert reader.get(f"/audit?{wrong}").status == 400


def test_older_rows_are_on_further_pages(reader: Reader, looked: Clinic, now: datetime) -> None:
    trail.add(
        looked.database,
        [Access(now, ANN, "read", f"Task/n{n}", "rosa", "success", "", {}, (), "fhir") for n in range(150)],
    )
    first = reader.get("/audit?action=read&who=ann")
    assert "Older" in first.text
    assert "Task/n149" in first.text
    assert ">Task/n20<" not in first.text
    link = first.text.partition('<a href="/audit?')[2].partition('"')[0].replace("&amp;", "&")
    second = reader.get(f"/audit?{link}")
    assert ">Task/n20<" in second.text
    assert "Task/n149" not in second.text


def test_a_day_begins_at_midnight_of_the_practice(reader: Reader, clinic: Clinic) -> None:
    """New York was four hours behind on 9 March 2026."""
    for hour, ref in ((3, "Task/late"), (4, "Task/early"), (27, "Task/night"), (28, "Task/next")):
        at = datetime(2026, 3, 9, tzinfo=UTC) + timedelta(hours=hour)
        trail.add(clinic.database, [Access(at, ANN, "read", ref, "rosa", "success", "", {}, (), "fhir")])
    page = reader.get("/audit?from=2026-03-09&to=2026-03-09")
    assert {one for one in ("late", "early", "night", "next") if f">Task/{one}<" in page.text} == {"early", "night"}
    assert "2026-03-09 00:00:00 EDT" in page.words
    assert "2026-03-09 23:00:00 EDT" in page.words


def test_the_patients_of_a_row_are_named_and_lead_to_who_looked_at_them(
    reader: Reader, clinic: Clinic, now: datetime
) -> None:
    many = tuple(f"p{number}" for number in range(30))
    trail.add(
        clinic.database,
        [
            Access(now, ANN, "search", "Task", None, "success", "", {}, many, "page"),
            Access(now, BOB, "break-glass", "Patient/rosa", "rosa", "success", "", {"reason": "fell <i>down</i>"}, (), "page"),
            Access(now, ANN, "read", "Patient/x", "a b/../&", "denied", "", {}, (), "page"),
        ],
    )  # fmt: skip
    page = reader.get("/audit")
    assert "/patients/p3/access" in page.text
    assert "and 10 more" in page.text
    assert "/patients/p20/access" not in page.text
    assert "fell &lt;i&gt;down" in page.text
    assert "/patients/a%20b" in page.text
    own = reader.get("/patients/p3/access")
    assert "/patients/p4/access" in own.text
    assert 'href="/patients/p3/access"' not in own.text


def test_from_an_older_page_one_comes_back_to_the_newest(reader: Reader, clinic: Clinic, now: datetime) -> None:
    trail.add(
        clinic.database,
        [Access(now, ANN, "read", f"Task/n{n}", "rosa", "success", "", {}, (), "fhir") for n in range(10_050)],
    )
    seen, path = 0, "/audit?who=ann&action=read"
    while path:
        page = reader.get(path)
        seen += page.text.count("<tr>") - 1
        assert (page.hrefs("/audit?who=ann&action=read")[:1] == ["/audit?who=ann&action=read"]) == ("before=" in path)
        path = next((one for one in page.hrefs("/audit?") if "before=" in one), "") if seen < 300 else ""
    assert seen == 300
    last = reader.get("/patients/rosa/access?before=60")
    assert 'href="/patients/rosa/access"' in last.text


@pytest.mark.security("B3", "S51")
def test_both_pages_need_the_act_of_auditors() -> None:
    assert needs_of("/audit") == needs_of("/patients/{id}/access") == frozenset({"audit"})
    assert needs_of("/l/{launch}/audit") == frozenset({"audit"})


@pytest.mark.security("S24", "S25")
def test_what_others_wrote_is_text(reader: Reader, looked: Clinic) -> None:
    page = reader.get("/audit?who=%3Cscript%3E&patient=%22%3E%3Cscript%3E")
    assert "<script>" not in page.text.replace("<script src", "")
