from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fhir_tracker.config import load_settings
from scripts.budgets import ROOT
from scripts.check_compose import problems

TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


OURS = sorted(name for name, body in SERVICES.items() if "build" in body)
COMMANDS = {name: body["command"] for name, body in SERVICES.items() if body.get("command", [""])[0] == "fhir-tracker"}
COMMANDS |= {
    f"health of {name}": body["healthcheck"]["test"][1:]
    for name, body in SERVICES.items()
    if body["healthcheck"].get("test", ["", ""])[1] == "fhir-tracker"
}


def in_profile(name: str) -> set[str]:
    return {service for service, body in SERVICES.items() if name in body["profiles"]}


def test_the_compose_file_is_right_by_the_official_schema() -> None:
    assert problems(TEXT) == []


def test_the_three_profiles_hold_what_they_promise() -> None:
    assert in_profile("embedded") == {"tracker"}
    assert in_profile("scale") == {"migrate", "api", "worker", "beat", "postgres", "redis"}
    assert {"tracker", "hapi"} <= in_profile("integration")


def test_redis_keeps_an_append_only_file_and_the_databases_keep_their_volumes() -> None:
    assert SERVICES["redis"]["command"] == ["redis-server", "--appendonly", "yes"]
    assert all(SERVICES[name]["volumes"] for name in ("tracker", "postgres", "redis"))


def test_every_process_of_the_tracker_finds_the_secret_key_that_another_made() -> None:
    assert all("tracker-data:/data" in SERVICES[name]["volumes"] for name in OURS if name != "hapi-ready")
    assert "XDG_DATA_HOME=/data" in (ROOT / "Dockerfile").read_text()


def test_whoever_needs_a_server_waits_until_it_is_healthy() -> None:
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name in ("api", "worker", "beat"):
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("condition: service_healthy", "condition: service_hopeful", "service_hopeful"),
        ("profiles: [embedded, integration]", "profile: [embedded]", "profile"),
        ("127.0.0.1:8080:8080", "8080:8080", "published on every address"),
        ('volumes: ["redis-data:/data"]', 'volumes: ["lost:/data"]', "not declared"),
    ],
)
def test_a_mistake_in_the_compose_file_is_named(before: str, after: str, said: str) -> None:
    assert before in TEXT
    assert any(said in problem for problem in problems(TEXT.replace(before, after)))


def test_the_image_is_built_from_the_wheel_with_the_pins_and_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert any("--constraint /tmp/constraints.txt /wheel/" in line for line in lines)
    assert [line for line in lines if line.startswith("USER")] == ["USER tracker"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_commands_and_options_of_the_services_exist(name: str) -> None:
    words = COMMANDS[name][1:]
    subcommands = words[: 2 if words[0] == "connection" else 1]
    program = Path(sys.executable).parent / "fhir-tracker"
    shown = subprocess.run([program, *subcommands, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert [word for word in words if word.startswith("--") and word not in shown.stdout] == []


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_the_services_are_ones_the_product_accepts(name: str) -> None:
    given = SERVICES[name].get("environment", {})
    load_settings({variable: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for variable, value in given.items()})


def test_the_scale_out_beat_names_a_real_celery_app_with_a_schedule() -> None:
    command = SERVICES["beat"]["command"]
    module, _, attribute = command[command.index("--app") + 1].partition(":")
    asked = f"import {module}; print(len({module}.{attribute}.conf.beat_schedule))"
    environment = {**os.environ, "FHIR_TRACKER_REDIS_URL": "redis://127.0.0.1:1/0"}
    run = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert int(run.stdout) >= 2
