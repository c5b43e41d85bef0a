"""Tasks by which an EHR asks that an app is opened."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.model.app_launch import SYSTEM, AppAsked, app_asked


def coded(code: str, system: str = SYSTEM) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def task(
    code: str = "launch-app-ehr", url: Any = "https://app.example/launch", context: Any = '{"a": 1}'
) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "code": coded(code),
        "input": [
            {"type": coded("smartonfhir-application"), "valueUrl": url},
            {"type": coded("smartonfhir-appcontext"), "valueString": context},
        ],
    }


@pytest.mark.requirement(101)
def test_a_task_that_asks_for_an_app_is_recognised_with_its_address_and_context() -> None:
    asked = AppAsked(url="https://app.example/launch", context='{"a": 1}')
    assert app_asked(task()) == asked
    assert app_asked(task("launch-app-standalone")) == AppAsked(url=asked.url, context=asked.context, standalone=True)
    assert app_asked({**task(), "input": task()["input"][:1]}) == AppAsked(url=asked.url)


@pytest.mark.requirement(101)
@pytest.mark.security("S25", "S58")
@pytest.mark.parametrize(
    "other",
    [
        {},
        {"code": coded("launch-app-ehr", "http://example.org")},
        {"code": {"text": "launch-app-ehr"}},
        {**task(), "code": coded("first-call")},
        {**task(), "input": []},
        {**task(), "input": "x"},
        {
            **task(),
            "input": [
                {"type": coded("smartonfhir-application", "http://example.org"), "valueUrl": "https://a.example"}
            ],
        },
        task(url="javascript:alert(1)"),
        task(url="data:text/html,x"),
        task(url="https://"),
        task(url="https://[::1"),
        task(url="https://app.example/\nx"),
        task(url="http://app.example/launch"),
        task(url="HTTP://app.example/launch"),
        task(url="//app.example/launch"),
        task(url="https://ehr.example@app.example/launch"),
        task(url="https://app.example\\@ehr.example/"),
        task(url="https://xn--e1awd7f.example/ <b>"),
        task(url="https://\u0430pp.example/launch"),
        task(url="https://app.example/\u202elaunch"),
        task(url=" https://app.example/launch"),
        task(url="https://app.example/'onclick='x"),
        task(url=7),
        task(url=None),
    ],
)
def test_other_tasks_and_odd_addresses_ask_for_nothing(other: dict[str, Any]) -> None:
    assert app_asked(other) is None


def test_an_odd_context_is_none() -> None:
    assert app_asked(task(context=["a"])) == AppAsked(url="https://app.example/launch")
