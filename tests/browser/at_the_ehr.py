"""Staff at the simulated EHR in a real browser: the EHR on localhost, the tracker in its frame on 127.0.0.1, another site."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from api.context import Access
from api.demo.simulator.app import SimulatedEhr
from api.demo.simulator.simulator import Choice
from fhir_tracker import accounts, clock, connections, issuers, roles
from fhir_tracker.config import load_settings
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.issuers import Terms
from subscriptions import SyncReport, sync_due
from tests.browser.conftest import Tracker, running
from tests.support.clinic import Clinic
from tests.support.simulated_ehr import CHARTS, NURSE, app_at, simulated_ehr

KEY = "ehr"
SECRET_KEY = "k" * 40
ADA, BEN = (local_id(KEY, one.id) for one in CHARTS)


@dataclass(frozen=True, kw_only=True)
class Site:
    """An EHR, and the tracker that it knows as an app; Nora Nurse is let in, Carl Clerk has no account."""

    ehr: SimulatedEhr
    tracker: Tracker

    @property
    def clinic(self) -> Clinic:
        return self.tracker.clinic

    def pull(self) -> None:
        """Read the EHR's records, as the worker does when it is time."""
        settings = load_settings({"HOME": "/nowhere"})
        deadline, reports = time.monotonic() + 60, list[SyncReport]()
        while not reports:
            assert time.monotonic() < deadline, "it is not time to read the EHR"
            reports = sync_due(self.clinic.database, settings, lambda: clock.now() + timedelta(seconds=2))
            time.sleep(0 if reports else 0.1)
        assert [one.complete for one in reports] == [True], reports

    def late_call(self, patient: str, now: datetime) -> str:
        """Late work about a patient of a chart; the Task's reference."""
        self.clinic.discharge(patient, now - timedelta(days=5))
        self.clinic.sweep(now)
        return self.clinic.task(patient, "first-call").ref

    def late_calls(self, now: datetime) -> None:
        """Late work about the patients of both charts."""
        for patient in (ADA, BEN):
            self.late_call(patient, now)


@contextmanager
def site(
    folder: Path,
    now: datetime,
    *,
    values: Mapping[str, str] | None = None,
    framed_by: str | None = None,
    auto: Choice | None = None,
) -> Iterator[Site]:
    """Both servers, set up through what the command line calls; `framed_by` replaces the EHR's origin."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as undo:
        ehr = undo.enter_context(simulated_ehr(host="localhost", auto=auto, is_secured=False))
        tracker = undo.enter_context(running(folder, now, Access.LOCKED, values))
        simulator = ehr.simulator
        simulator.register(app_at(tracker.address))
        terms = Terms(
            url=simulator.fhir_base,
            client_id="care-tracker",
            frame_ancestors=(framed_by or simulator.origin,),
            intents={"work-queue": "queue", "operations": "operations"},
        )
        with tracker.clinic.database.begin() as tx:
            connections.add(tx, KEY, simulator.fhir_base, now=now, poll_seconds=1, types=("Patient",))
            issuers.of_connection(tx, KEY, terms, SECRET_KEY, now)
            known = roles.built_in()
            accounts.add(tx, NURSE.name, ("rn",), known=known, now=now, connection=KEY, fhir_user=NURSE.fhir_user)
        found = Site(ehr=ehr, tracker=tracker)
        found.pull()
        yield found


class Desk:
    """One person at one browser window of the EHR."""

    def __init__(self, place: Site, context: BrowserContext) -> None:
        self.site = place
        self.page: Page = context.new_page()

    def sit_down(self, name: str = NURSE.name) -> None:
        """Log in at the EHR."""
        self.page.goto(f"{self.site.ehr.simulator.origin}/ehr")
        self.page.get_by_role("button", name=re.compile(name)).click()
        expect(self.page.locator(".who")).to_contain_text(name)

    def open(self, name: str) -> None:
        """Open a chart, or choose the tab of one that is open, or of the work queues."""
        tab = self.page.get_by_role("tab", name=name)
        if tab.count():
            tab.click()
        else:
            self.page.locator("#charts").get_by_role("button", name=re.compile(name)).click()

    def launch(self, *, intent: str = "", item: str = "") -> FrameLocator:
        """Press the launch button of the tab that is shown; the frame that opens."""
        panel = self.page.locator("#panels section:not([hidden])")
        panel.get_by_label("Intent").select_option(intent)
        panel.get_by_label("Item").fill(item)
        panel.get_by_role("button", name="Launch Care plan tracker").click()
        return self.frame

    @property
    def frame(self) -> FrameLocator:
        """The tracker in the tab that is shown."""
        return self.page.frame_locator("#panels section:not([hidden]) iframe")
