"""An EHR whose clocks, commits, pages and answers go wrong while it is polled: nothing is lost, nothing doubled, nothing early."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fhir_tracker.fhir.dates import instant
from tests.faults.proxy import FaultProxy, Toxics
from tests.faults.scene import LIMITS, Scene

Make = Callable[..., Scene]
PATIENTS = tuple(f"p{number:03}" for number in range(25))
PAGED = "_getpages|_offset"


@pytest.mark.fault("F20")
@pytest.mark.parametrize("hours", [2, -2])
def test_our_clock_may_jump(scene: Make, hours: int) -> None:
    made = scene()
    made.ehr.write(*PATIENTS)
    made.synced()
    before = made.cursor()
    made.now = made.now.replace(hour=made.now.hour + 12) if hours < 0 else made.now
    made.now = made.now.replace(hour=made.now.hour + hours)
    made.synced()
    after = made.cursor()
    assert before is not None
    assert after is not None
    assert before.watermark is not None
    assert after.watermark is not None
    assert abs((after.watermark - before.watermark).total_seconds()) < 600
    made.ehr.write("late", *PATIENTS[:3])
    made.synced()
    assert "late" in made.held()


@pytest.mark.fault("F21")
@pytest.mark.parametrize("skew", [600, 3, -3])
def test_the_clocks_of_the_ehr_may_differ(scene: Make, skew: int) -> None:
    made = scene()
    made.ehr.act("switch", skew=skew)
    made.ehr.write(*PATIENTS)
    made.synced()
    made.ehr.act("switch", skew=skew - 6)
    made.ehr.write("slow", *PATIENTS[:5])
    made.synced()
    made.ehr.act("switch", skew=0)
    made.ehr.write("right")
    made.synced()
    assert {"slow", "right"} <= made.held()


@pytest.mark.fault("F22")
def test_five_hundred_rows_of_one_stamp_over_ten_pages(scene: Make) -> None:
    made = scene()
    made.ehr.act("switch", page_size=50)
    made.ehr.write(*[f"s{number:03}" for number in range(500)], stamp="2024-05-06T12:00:00.000Z")
    made.synced()
    assert len(made.held()) == 500


@pytest.mark.fault("F23")
def test_commits_that_are_seen_two_minutes_late(scene: Make) -> None:
    made = scene()
    made.ehr.write(*PATIENTS[:5], late=120)
    made.ehr.write(*PATIENTS[5:])
    made.synced()
    made.ehr.write("after")
    made.synced()
    assert PATIENTS[0] not in made.held()
    for _ in range(5):
        made.synced()
    assert {*PATIENTS, "after"} == made.held()


@pytest.mark.fault("F23")
@pytest.mark.parametrize("seed", [1, 2])
def test_eight_writers_at_once_are_all_heard(scene: Make, seed: int) -> None:
    made = scene()
    made.ehr.act("switch", runs=True)
    for turn in range(3):
        made.ehr.act("commit", seed=10 * seed + turn, writers=8, each=10)
        made.synced()
    assert len(made.held()) == 240


@pytest.mark.fault("F24")
def test_writes_while_pages_are_counted_by_rows(scene: Make) -> None:
    made = scene()
    made.ehr.act("switch", offset=True, page_size=5)
    for one in PATIENTS:
        made.ehr.act("pass_time", seconds=1)
        made.ehr.write(one)
    made.ehr.fault({"match": PAGED, "skip": 1, "do": "status", "status": 500, "times": 2})
    made.sync()
    made.ehr.write(*PATIENTS[:8], "new")
    made.ehr.act("delete", type_="Patient", id_=PATIENTS[9])
    made.ehr.fault()
    made.rest()
    assert made.held() == {*PATIENTS, "new"} - {PATIENTS[9]}


@pytest.mark.fault("F25")
@pytest.mark.parametrize("status", [410, 404, 500])
def test_a_paging_link_that_breaks_off_has_its_window_read_again(scene: Make, status: int) -> None:
    made = scene()
    made.ehr.act("switch", page_size=5)
    made.ehr.write(*PATIENTS)
    made.ehr.fault({"match": PAGED, "skip": 2, "do": "status", "status": status, "times": 3})
    made.sync()
    made.rest()
    asked = [one["url"] for one in made.ehr.state()["seen"] if "/Patient?" in one["url"]]
    assert len(asked) < 15, "no endless beginning anew"


@pytest.mark.fault("F26")
@pytest.mark.parametrize("following", ["self", "http://127.0.0.1:9/fhir?_getpages=x", "file:///etc/passwd"])
def test_a_next_link_that_leads_astray_is_not_followed(scene: Make, following: str) -> None:
    made = scene()
    made.ehr.act("switch", page_size=5)
    made.ehr.write(*PATIENTS)
    made.ehr.fault({"match": "Patient\\?", "next": following, "times": 3})
    made.failed()
    assert len(made.ehr.state()["seen"]) < 30


@pytest.mark.fault("F26")
def test_a_page_beyond_all_measure_is_not_taken(scene: Make) -> None:
    made = scene()
    made.ehr.write(*PATIENTS)
    made.ehr.fault({"match": "Patient\\?", "do": "body", "text": " " * 3_000_000, "times": 6, "headers": FHIR})
    made.failed("larger")


FHIR = {"content-type": "application/fhir+json"}
RETRY = {
    "seconds": ("7", 7.0),
    "date": ("Mon, 06 May 2024 12:00:40 GMT", None),
    "garbage": ("soon", None),
    "a day": ("86400", None),
}


@pytest.mark.fault("F27")
@pytest.mark.parametrize("form", RETRY)
def test_an_ehr_that_asks_us_to_wait_is_given_time_and_never_too_much(scene: Make, form: str) -> None:
    asked, wait = RETRY[form]
    made = scene()
    made.ehr.write(*PATIENTS)
    headers = FHIR | {"retry-after": asked, "date": "Mon, 06 May 2024 12:00:30 GMT"}
    made.ehr.fault({"match": "Patient\\?", "do": "status", "status": 429, "headers": headers, "times": 1})
    done = made.sync()
    assert all(0 < one <= made.limits.longest_wait for one in made.waits), made.waits
    if wait is not None:
        assert made.waits == [wait]
    assert done.complete == (form != "a day")
    if form == "a day":
        assert done.not_before is not None
        assert (done.not_before - made.now).total_seconds() <= 86_400


SPOILT: dict[str, dict[str, Any]] = {
    "cut off": {"do": "truncate"},
    "silent": {"do": "hang", "seconds": 8},
    "dripping": {"do": "drip"},
    "bomb": {"do": "bomb"},
    "text": {"headers": {"content-type": "text/plain"}},
    "login page": {"do": "body", "text": "<form>Sign in</form>", "headers": {"content-type": "text/html"}},
    "half of JSON": {"do": "body", "text": '{"resourceType": "Bundle", "entry": [', "headers": FHIR},
    "another resource": {"do": "body", "text": '{"resourceType": "Patient"}', "headers": FHIR},
    "deep": {"do": "body", "text": "[" * 50_000, "headers": FHIR},
    "not a number": {"do": "body", "text": '{"resourceType": "Bundle", "total": NaN}', "headers": FHIR},
    "away": {"do": "status", "status": 302, "headers": {"location": "http://127.0.0.1:9/fhir/Patient"}},
    "in a circle": {"do": "status", "status": 302, "headers": {"location": "/fhir/Patient?a=1"}},
}


@pytest.mark.fault("F30")
@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_answer_is_not_believed(scene: Make, how: str) -> None:
    made = scene(seconds=2)
    made.ehr.write(*PATIENTS[:5])
    made.synced()
    made.ehr.write(*PATIENTS)
    before = made.cursor()
    made.ehr.fault({"match": "Patient\\?", "times": 9, **SPOILT[how]})
    made.failed()
    after = made.cursor()
    assert before is not None
    assert after is not None
    assert after.watermark == before.watermark


TOXICS = {
    "down": Toxics(down=True),
    "reset": Toxics(reset_peer=True),
    "timeout": Toxics(timeout=8),
    "limit": Toxics(limit_data=300),
    "slow": Toxics(bandwidth=200, slicer=50),
}
HARMLESS = {"slices": Toxics(slicer=3), "latency": Toxics(latency=0.05), "slow close": Toxics(slow_close=0.1)}


@pytest.mark.fault("F30")
@pytest.mark.parametrize("how", [*TOXICS, *HARMLESS])
def test_a_line_that_breaks_loses_nothing(scene: Make, shared_ehr: Any, how: str) -> None:
    with FaultProxy(target=shared_ehr.port) as proxy:
        made = scene(f"http://127.0.0.1:{proxy.port}/fhir", seconds=2 if how in TOXICS else 60)
        made.ehr.write(*PATIENTS[:5])
        made.synced()
        made.ehr.write(*PATIENTS)
        proxy.toxics = (TOXICS | HARMLESS)[how]
        proxy.drop()
        if how in TOXICS:
            made.failed()
        else:
            made.synced()
        proxy.heal()
        made.limits = LIMITS
        made.check()


ODD: dict[str, tuple[str, bool]] = {
    "no id": ('{"resourceType": "Patient"}', False),
    "another type": ('{"resourceType": "Group", "id": "odd"}', False),
    "a type that is none": ('{"resourceType": "Nope", "id": "odd"}', False),
    "meta is a text": ('{"resourceType": "Patient", "id": "odd", "meta": "x"}', False),
    "twice the same member": ('{"resourceType": "Patient", "id": "odd", "id": "odd"}', False),
    "half a character": ('{"resourceType": "Patient", "id": "odd", "gender": "\\ud800"}', False),
    "an unknown field": ('{"resourceType": "Patient", "id": "odd", "shoeSize": 43}', True),
    "a stamp to the minute": (
        '{"resourceType": "Patient", "id": "odd", "meta": {"lastUpdated": "2024-05-06T12:00Z"}}',
        True,
    ),
    "2 MB of narrative": (
        json.dumps({"resourceType": "Patient", "id": "odd", "text": {"status": "generated", "div": "x" * 2_000_000}}),
        True,
    ),
}


@pytest.mark.fault("F31")
@pytest.mark.parametrize("what", ODD)
def test_an_odd_entry_holds_up_no_other(scene: Make, what: str) -> None:
    text, is_taken = ODD[what]
    made = scene()
    made.ehr.write(*PATIENTS[:5])
    made.ehr.act(
        "put_odd", type_="Patient", id_="odd", text=text, stamp=instant(made.now.replace(year=2024, month=5, day=6))
    )
    made.ehr.write(*PATIENTS[5:])
    made.synced()
    assert set(PATIENTS) <= made.held()
    assert ("odd" in made.held()) == is_taken
    assert [one.body for one in made.waiting()] == ([] if is_taken else [text])
    made.ehr.write("odd")
    made.synced()
    assert {*PATIENTS, "odd"} == made.held()
    if what == "meta is a text":  # where no id could be read, the entry stays to be looked at
        assert not [one for one in made.waiting() if one.resolved_at is None]
