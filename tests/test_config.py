"""Settings come from the environment alone, and odd ones refuse to start."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_tracker.config import SETTINGS, Settings, load_settings, settings_page
from fhir_tracker.errors import UsageError
from fhir_tracker.setting_texts import duration

ROOT = Path(__file__).parents[1]


def test_the_defaults_need_nothing_but_a_home() -> None:
    settings = load_settings({"HOME": "/home/nobody"})
    assert settings.database == "sqlite:////home/nobody/.local/share/fhir-tracker/tracker.db"
    assert settings.mass_escalation_limit == 0.5
    assert settings.mass_escalation_floor == 25
    assert settings.sweep_interval == timedelta(seconds=5)
    assert settings.sweep_batch == 500
    assert settings.body_limit == 5_000_000
    assert settings.poll_overlap == timedelta(seconds=125)
    assert settings.log_level == "INFO"


def test_the_default_database_follows_xdg_data_home() -> None:
    settings = load_settings({"HOME": "/home/nobody", "XDG_DATA_HOME": "/data"})
    assert settings.database_file == Path("/data/fhir-tracker/tracker.db")


def test_a_relative_xdg_data_home_does_not_count() -> None:
    assert (
        load_settings({"HOME": "/h", "XDG_DATA_HOME": "data"}).database
        == "sqlite:////h/.local/share/fhir-tracker/tracker.db"
    )


def test_the_command_line_goes_before_the_variable() -> None:
    settings = load_settings({"FHIR_TRACKER_DATABASE": "sqlite:///a.db"}, database="postgresql://host/name")
    assert settings.database == "postgresql://host/name"
    assert settings.database_file is None


def test_each_field_is_one_row_of_the_table() -> None:
    assert [setting.field for setting in SETTINGS] == [field.name for field in fields(Settings)]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LOG_LEVEL", "loud", "DEBUG, INFO"),
        ("MASS_ESCALATION_LIMIT", "1.5", "share from 0"),
        ("MASS_ESCALATION_LIMIT", "nan", "share from 0"),
        ("MASS_ESCALATION_LIMIT", "half", "use a number"),
        ("MASS_ESCALATION_FLOOR", "-1", "whole number"),
        ("SWEEP_INTERVAL", "soon", "such as 30s"),
        ("SWEEP_INTERVAL", "0", "more than 0"),
        ("SWEEP_BATCH", "0", "at least 1"),
        ("BODY_LIMIT", "big", "such as 5M"),
        ("PUBLIC_URL", "tracker.example.org", "https://"),
        ("PUBLIC_URL", "https://user:pw@tracker.example.org", "without query or user"),
        ("DATABASE", "mysql://x", "postgresql://"),
        ("DATABASE", "sqlite://", "sqlite:///FILE"),
        ("SECRET_KEY", "short", "32 characters"),
    ],
)
def test_an_odd_value_refuses_to_start_and_says_what_is_right(name: str, value: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({f"FHIR_TRACKER_{name}": value})
    assert words in caught.value.message
    assert f"FHIR_TRACKER_{name}" in caught.value.message


def test_a_secret_value_is_never_shown() -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({"FHIR_TRACKER_SECRET_KEY": "hunter2"})
    assert "hunter2" not in caught.value.message
    assert "k" * 40 not in repr(load_settings({"FHIR_TRACKER_SECRET_KEY": "k" * 40}))


def test_an_unknown_name_is_refused_with_the_likely_one() -> None:
    with pytest.raises(UsageError, match="Did you mean FHIR_TRACKER_LOG_LEVEL"):
        load_settings({"FHIR_TRACKER_LOGLEVEL": "INFO"})
    with pytest.raises(UsageError, match=r"docs/settings\.md"):
        load_settings({"FHIR_TRACKER_QQQQ": "1"})


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k" * 40 + "\n")
    assert load_settings({"FHIR_TRACKER_SECRET_KEY_FILE": str(file)}).secret_key == "k" * 40


def test_a_secret_file_that_is_missing_or_doubled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings({"FHIR_TRACKER_SECRET_KEY_FILE": str(tmp_path / "none")})
    with pytest.raises(UsageError, match="keep one"):
        load_settings({"FHIR_TRACKER_SECRET_KEY_FILE": "x", "FHIR_TRACKER_SECRET_KEY": "k" * 40})


def test_a_plain_setting_has_no_file_variant() -> None:
    with pytest.raises(UsageError, match="There is no setting"):
        load_settings({"FHIR_TRACKER_LOG_LEVEL_FILE": "x"})


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("30", 30), ("2m", 120), ("1.5h", 5400), ("7d", 604800)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


def test_the_page_of_settings_is_the_table() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page()
