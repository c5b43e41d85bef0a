"""Hooks and a worker at the same time: nobody is refused, every change arrives, and nothing is left waiting."""

from __future__ import annotations

import threading

import pytest

from fhir_tracker.storage.database import Database
from tests.subscriptions.fake_ehr import FakeEhr
from tests.subscriptions.listener import Listener, patient
from tests.subscriptions.subscribing import Subscriptions

IDS = [f"p{number}" for number in range(12)]


@pytest.mark.requirement(70, 73)
def test_notifications_in_any_order_and_a_worker_do_not_stop_each_other(database: Database, ehr: FakeEhr) -> None:
    Subscriptions(ehr)
    listener = Listener(database, ehr)
    listener.sync()
    for one in IDS:
        ehr.put("Patient", one)
    failed: list[BaseException] = []

    def tell(step: int) -> None:
        try:
            for turn in range(6):
                start = (turn * step) % len(IDS)
                listener.hear(*(patient(one) for one in (IDS[start:] + IDS[:start])[::step]))
                listener.hear()
        except BaseException as error:
            failed.append(error)
            raise

    tellers = [threading.Thread(target=tell, args=(step,)) for step in (1, -1, 1, -1)]
    for teller in tellers:
        teller.start()
    while any(teller.is_alive() for teller in tellers):
        listener.work()
    for teller in tellers:
        teller.join()
    assert failed == []
    listener.pass_time(60)
    listener.work()
    assert listener.held() == set(IDS)
    assert listener.waiting() == []
    assert {len(listener.versions(one)) for one in IDS} == {1}
