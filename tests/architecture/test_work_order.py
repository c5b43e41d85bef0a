"""The order in which test processes get the files: everything once, files whole, what shares a slow peer together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.work_order import LONG, SERVED, SHARED, WorkOrder, piece, rank, starts_its_own

TESTS = Path(__file__).parents[1]
FILES = sorted(path.relative_to(TESTS.parent).as_posix() for path in TESTS.rglob("test_*.py"))


class Node:
    """A test process that only notes what it is given."""

    shutting_down = False

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="gw")
        self.given: list[int] = []

    def send_runtest_some(self, places: list[int]) -> None:
        self.given += places

    def shutdown(self) -> None:
        self.shutting_down = True


def played(tests: list[str], count: int) -> list[list[str]]:
    """What each of so many processes runs, each in turn one test."""
    options = SimpleNamespace(tx=["popen"] * count, loadscopereorder=True, numprocesses=count, maxprocesses=None)
    config = SimpleNamespace(option=options, getvalue=lambda name: getattr(options, name))
    order = WorkOrder(cast(pytest.Config, config))
    nodes = [Node() for _ in range(count)]
    for node in nodes:
        order.add_node(cast(Any, node))
        order.add_node_collection(cast(Any, node), tests)
    order.schedule()
    done = [0] * count
    while any(done[number] < len(node.given) for number, node in enumerate(nodes)):
        for number, node in enumerate(nodes):
            if done[number] < len(node.given):
                order.mark_test_complete(cast(Any, node), node.given[done[number]])
                done[number] += 1
    assert order.tests_finished
    assert not order.has_pending
    assert all(node.shutting_down for node in nodes)
    return [[tests[place] for place in node.given] for node in nodes]


def of(file: str, count: int) -> list[str]:
    return [f"{file}::test_{number}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_test_runs_once_and_no_file_is_split(count: int) -> None:
    tests = [test for number, file in enumerate(FILES) for test in of(file, 1 + number % 7)]
    runs = played(tests, count)
    assert sorted(test for run in runs for test in run) == sorted(tests)
    for file in FILES:
        assert sum(any(test.startswith(f"{file}::") for test in run) for run in runs) == 1, file


@pytest.mark.parametrize("count", [1, 2, 3])
def test_files_that_share_a_peer_run_in_one_process_before_anything_else(count: int) -> None:
    runs = played([test for file in FILES for test in of(file, 3)], count)
    for peer in SHARED:
        users = {file for file in FILES if piece(file) == peer}
        assert len(users) > 2
        (run,) = [run for run in runs if any(test.partition("::")[0] in users for test in run)]
        places = [place for place, test in enumerate(run) if test.partition("::")[0] in users]
        assert places == list(range(places[0], places[0] + 3 * len(users)))
        assert all(piece(test.partition("::")[0]) in SHARED for test in run[: places[0]])


def test_who_asks_for_a_shared_peer_is_known_by_its_imports() -> None:
    assert piece("tests/peers/test_hapi.py") == "hapi"
    assert piece("tests/subscriptions/test_real_servers.py") == "hapi"
    assert piece("tests/browser/test_walks.py") == "chromium"
    assert piece("tests/mappings/test_hapi.py") == "tests/mappings/test_hapi.py"
    assert piece("tests/nowhere/test_gone.py") == "tests/nowhere/test_gone.py"


def test_what_waits_for_processes_comes_before_what_only_computes() -> None:
    names = ["tests/fhir/test_many.py", *(f"{folder}x.py" for folder in LONG), *SHARED, "tests/fhir/test_few.py"]
    counts = {"tests/fhir/test_many.py": 1000, "tests/fhir/test_few.py": 2}
    found = sorted(names, key=lambda name: rank(name, counts.get(name, 5)))
    assert set(found[: len(SHARED)]) == set(SHARED)
    assert found[-2:] == ["tests/fhir/test_many.py", "tests/fhir/test_few.py"]


def test_what_shares_a_server_that_stays_comes_last_and_of_it_first_what_starts_its_own() -> None:
    names = [one for one in FILES if one.startswith(SERVED) and piece(one) == one]
    own, shared = "tests/conformance/test_bad_company.py", "tests/conformance/test_every_type.py"
    assert {own, shared} <= set(names)
    assert starts_its_own(own)
    assert not starts_its_own(shared)
    found = sorted([*names, "tests/fhir/test_few.py", "tests/faults/test_kills.py"], key=lambda name: rank(name, 1))
    assert found[:2] == ["tests/faults/test_kills.py", "tests/fhir/test_few.py"]
    begun = [starts_its_own(name) for name in found[2:]]
    assert begun == sorted(begun, reverse=True)
    assert {True, False} == set(begun)
    assert not starts_its_own("tests/security/test_gone.py")


def test_each_long_folder_is_there() -> None:
    for start in (*LONG, *SERVED):
        assert any(file.startswith(start) for file in FILES), start


def test_what_a_process_that_died_had_left_goes_to_another() -> None:
    tests = of("tests/fhir/test_a.py", 5) + of("tests/fhir/test_b.py", 5) + of("tests/fhir/test_c.py", 1)
    options = SimpleNamespace(tx=["popen"] * 2, loadscopereorder=True, numprocesses=2, maxprocesses=None)
    config = SimpleNamespace(option=options, getvalue=lambda name: getattr(options, name))
    order = WorkOrder(cast(pytest.Config, config))
    nodes = [Node(), Node()]
    for node in nodes:
        order.add_node(cast(Any, node))
        order.add_node_collection(cast(Any, node), tests)
    order.schedule()
    left, other = nodes
    first = left.given[0]
    order.mark_test_complete(cast(Any, left), first)
    died = order.remove_node(cast(Any, left))
    assert died == tests[left.given[1]]
    done = 0
    while done < len(other.given):
        order.mark_test_complete(cast(Any, other), other.given[done])
        done += 1
    assert {tests[place] for place in other.given} >= {tests[place] for place in left.given[1:]}
    assert first not in other.given
