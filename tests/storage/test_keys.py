"""Row keys: never given twice, whatever rolls back, and across processes and threads."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_tracker.storage.database import Database
from fhir_tracker.storage.keys import BLOCK

ROOT = Path(__file__).parents[2]
TAKER = """
import random, sys
from contextlib import suppress
from fhir_tracker.storage.database import Database
chance = random.Random(sys.argv[2])
database = Database.open(sys.argv[1])
for _ in range(25):
    keys = []
    with suppress(LookupError):
        with database.begin() as tx:
            keys = [tx.keys.take() for _ in range(chance.choice([1, 3, 400, 1100]))]
            if chance.random() < 0.3:
                raise LookupError
        print(*keys, flush=True)
"""


def take(database: Database, count: int, *, fails: bool = False) -> list[int]:
    """Keys of one transaction; none when it rolls back."""
    with suppress(LookupError):
        with database.begin() as tx:
            keys = [tx.keys.take() for _ in range(count)]
            if fails:
                raise LookupError
        return keys
    return []


def test_keys_never_double_across_processes(database: Database, ready_url: str) -> None:
    command = [sys.executable, "-c", TAKER, ready_url]
    started = [
        subprocess.Popen([*command, str(seed)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    mine = [key for _ in range(20) for key in take(database, random.Random(1).randint(1, 300))]
    told = [one.communicate() for one in started]
    assert [(error, one.returncode) for (_, error), one in zip(told, started, strict=True)] == [("", 0)] * 3
    keys = [int(key) for output, _ in told for key in output.split()] + mine
    assert len(keys) > 3 * 25 * 100
    assert len(set(keys)) == len(keys)


def test_keys_never_double_across_threads(database: Database) -> None:
    given_out: list[int] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            given_out.extend(take(database, chance.choice([1, 10, 600]), fails=chance.random() < 0.3))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(given_out)) == len(given_out) > 0


@given(rounds=st.lists(st.tuples(st.integers(0, 1500), st.booleans()), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_committed_never_comes_again_and_one_process_counts_up(
    database: Database, rounds: list[tuple[int, bool]]
) -> None:
    kept: list[int] = []
    for count, fails in rounds:
        kept += take(database, count, fails=fails)
    assert kept == sorted(set(kept))


def test_what_a_transaction_did_not_use_serves_the_next(database: Database) -> None:
    first = take(database, 3)
    second = take(database, 2)
    assert [*first, *second] == list(range(first[0], first[0] + 5))
    assert first[0] % BLOCK == 1


def test_keys_of_a_block_drawn_in_a_rolled_back_transaction_are_safe(database: Database) -> None:
    before = take(database, BLOCK)
    take(database, 10, fails=True)
    after = take(database, 10)
    assert not set(before) & set(after)
