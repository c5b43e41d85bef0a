from __future__ import annotations

import subprocess
import sys

import pytest

from fhir_tracker.errors import UsageError
from mappings import mapping_named, mapping_names


def test_every_name_leads_to_a_mapping() -> None:
    assert mapping_names() == (
        "athena",
        "ecw",
        "epic",
        "generic",
        "hapi",
        "medplum",
        "oracle_health",
        "us_core",
    )
    for name in mapping_names():
        assert "CarePlan" in mapping_named(name).wanted


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known are athena, ecw, epic"):
        mapping_named("epik")


def test_patients_are_read_before_what_refers_to_them_and_tasks_last() -> None:
    wanted = mapping_named("generic").wanted
    assert wanted[0] == "Patient"
    assert wanted[-1] == "Task"
    assert len(set(wanted)) == len(wanted)


def test_no_mapping_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, mappings; print('mappings.generic' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
