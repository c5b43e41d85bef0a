"""CSV that no spreadsheet runs, JSON, the page and the resources: all made of one definition."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.measures import formats, measure_reports
from fhir_tracker.measures.definitions import MEASURES
from fhir_tracker.measures.report import Asked, Report, Row, ranked
from fhir_tracker.measures.resources import measure_resources
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from tests.measures.page import sections
from tests.peers.validator.run import validate
from tests.support.clinic import MONDAY, SYSTEM

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def report(name: str, *keys: str, viewer: Viewer = SYSTEM, rows: int = 1) -> Report:
    measure = MEASURES[name]
    asked = Asked(viewer=viewer, now=MONDAY, start=MONDAY - timedelta(days=30), end=MONDAY)
    values = {one.name: {"count": 3, "hours": 1.5, "percent": 33.3}[one.unit] for one in measure.values}
    given_keys = keys or tuple("x" for _ in measure.keys)
    return Report(measure=measure, asked=asked, rows=tuple(Row(keys=given_keys, values=values) for _ in range(rows)))


def test_each_measure_is_on_the_page_as_it_is_defined() -> None:
    assert [one.splitlines()[0] for one in sections() if one not in PAGE] == []


@given(
    st.text(max_size=30), st.sampled_from(["", " ", "  ", "\ufeff", "\u00a0"]), st.sampled_from("=+-@\t\r\n＝＋－＠|%")
)
def test_no_cell_begins_as_a_formula_does(text: str, space: str, start: str) -> None:
    text = text.replace("\0", "")
    (line,) = csv.reader(io.StringIO(formats.csv_of([[f"{space}{start}{text}a"]]), newline=""))
    assert line == [f"'{space}{start}{text}a"]


@pytest.mark.parametrize("cell", ["--5", "-1-1", "-1.2.3", "+5", "-", "-\u0661", "-1e5+cmd|' /C calc'!A0", "\0=1+1"])
def test_what_only_resembles_a_number_is_kept_from_being_a_formula(cell: str) -> None:
    assert formats.csv_of([[cell]]).rstrip("\r\n").strip('"') == "'" + cell.replace("\0", "")


@given(st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=4), min_size=1, max_size=4))
def test_no_text_adds_a_cell_or_a_line_and_whoever_reads_it_gets_it_back(lines: list[list[str]]) -> None:
    found = list(csv.reader(io.StringIO(formats.csv_of(lines), newline="")))
    kept = [[cell.replace("\0", "") for cell in line] for line in lines]
    assert [
        [cell if cell == was else cell.removeprefix("'") for cell, was in zip(one, before, strict=True)]
        for one, before in zip(found, kept, strict=True)
    ] == kept


UNSEEN = ("\u200b", "\u2060", "\u00ad", "\u202e", "\u2003", "\u3000", "\u0085", "\x0b", "\x1b", " \u200b \ufeff")
LIKE = (
    "=",
    "+",
    "-",
    "@",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
    "\ufe66",
    "\ufe62",
    "\ufe63",
    "\ufe6b",
    "\u2212",
    "\u207c",
)


@pytest.mark.parametrize("before", ["", *UNSEEN])
def test_what_looks_like_a_formula_after_what_nobody_sees_is_kept_from_being_one(before: str) -> None:
    for start in LIKE:
        cell = f"{before}{start}cmd|' /C calc'!A0"
        (line,) = csv.reader(io.StringIO(formats.csv_of([[cell]]), newline=""))
        assert line == [f"'{cell}"]


@pytest.mark.parametrize(
    "cell",
    ["-5", "-0.5", "0", "-12345.678", "rn", "a=b", "x-1", "\u200bname", " ring", "'=1", "5%", "\u00e9-mail", "1+1"],
)
def test_what_is_no_formula_is_left_as_it_is_and_numbers_below_nothing_stay_numbers(cell: str) -> None:
    (line,) = csv.reader(io.StringIO(formats.csv_of([[cell, "x"]]), newline=""))
    assert line == [cell, "x"]


def test_a_report_with_hostile_keys_is_safe_in_each_form() -> None:
    hostile = ('=HYPERLINK("http://evil.example")', "\t@SUM(1)", "<script>alert(1)</script>")
    made = report("overdue", *hostile)
    (cells,) = list(csv.reader(io.StringIO(formats.as_csv(made), newline="")))[1:]
    assert all(one.startswith("'") for one in cells[:2])
    assert json.loads(formats.json_text(made))["rows"][0]["owner"] == hostile[0]
    body = measure_reports.measure_report(made)
    assert "<script" not in body["text"]["div"]
    assert [one.message for one in check(body) if one.severity in ("error", "fatal")] == []


def test_numbers_stay_numbers_and_quotes_are_doubled() -> None:
    assert formats.csv_of([["-1.5", "7", 'a "b", c', ""]]) == '-1.5,7,"a ""b"", c",\r\n'


def test_a_report_as_csv_has_a_line_of_heads() -> None:
    text = formats.as_csv(report("overdue", "=cmd|' /C calc'!A0", "rn", "tcm"))
    assert text.splitlines()[0] == "owner,role,program,count,median_hours,p90_hours,longest_hours"
    assert text.splitlines()[1] == "'=cmd|' /C calc'!A0,rn,tcm,3,1.5,1.5,1.5"


def test_a_report_as_json_says_what_was_asked_and_in_which_units() -> None:
    told = json.loads(formats.json_text(report("on-time")))
    assert told["rows"][0]["on_time_rate"] == 33.3
    assert told["units"]["mean_hours"] == "hours"
    assert told["total"]["on_time_rate"] == 100.0
    assert told["period"]["to"] == "2026-03-09T14:00:00.000Z"


def test_ranks_are_the_nearest() -> None:
    assert ranked([(1, 1), (2, 1), (30, 1), (4, 7)]) == {"median_hours": 4.0, "p90_hours": 4.0, "longest_hours": 30.0}
    assert ranked([]) == {"median_hours": None, "p90_hours": None, "longest_hours": None}
    assert ranked([(5, 1)])["p90_hours"] == 5.0


@pytest.mark.parametrize("name", MEASURES)
def test_a_report_is_a_valid_measure_report(name: str) -> None:
    for viewer in (SYSTEM, Viewer(who="Patient/ann", patient="ann", sight=EVERYTHING)):
        body = measure_reports.measure_report(report(name, viewer=viewer, rows=2))
        assert [one.message for one in check(body) if one.severity in ("error", "fatal")] == []
    assert body["type"] == "individual"
    empty = measure_reports.measure_report(report(name, rows=0))
    assert [one.message for one in check(empty) if one.severity in ("error", "fatal")] == []


def test_hl7s_validator_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    made = [*measure_resources(), *(measure_reports.measure_report(report(name)) for name in MEASURES)]
    for number, body in enumerate(made):
        (tmp_path / f"{number}.json").write_text(write_json(body), encoding="utf-8")
    assert [(one.file.name, one.location, one.message) for one in validate([tmp_path]) if one.wrong] == []
