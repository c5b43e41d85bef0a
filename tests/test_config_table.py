"""Every setting, by its table: what its text may be, what it becomes, and what is said of any other."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.addresses import MailServer
from fhir_tracker.config import PREFIX, SETTINGS, Setting, default_folder, load_settings
from fhir_tracker.errors import UsageError
from fhir_tracker.setting_texts import LOG_LEVELS, duration

# name -> (text, value) pairs that are right, and texts that are wrong
TABLE: dict[str, tuple[list[tuple[str, object]], list[str]]] = {
    "DATABASE": (
        [
            *(("sqlite:///t.db", "sqlite:///t.db"), ("sqlite:////var/t.db", "sqlite:////var/t.db")),
            *(("postgresql://u@h/n", "postgresql://u@h/n"), ("postgres://h/n?x=y", "postgres://h/n?x=y")),
        ],
        ["mysql://h/n", "sqlite://", "sqlite:///", "t.db", "postgresql:/h", "file:///t.db"],
    ),
    "SECRET_KEY": ([("k" * 32, "k" * 32), ("k" * 200, "k" * 200)], ["k", "k" * 31]),
    "PUBLIC_URL": (
        [
            ("https://tracker.example.org", "https://tracker.example.org"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("https://h/app/", "https://h/app"),
            ("", ""),
        ],
        ["tracker.example.org", "ftp://h", "https://", "https://u@h", "https://u:p@h", "https://h?x=1", "https://h#x"],
    ),
    "LOG_LEVEL": ([*((one, one) for one in LOG_LEVELS), ("debug", "DEBUG"), ("Info", "INFO")], ["TRACE", "0", "info "]),
    "MASS_ESCALATION_LIMIT": (
        [("0", 0.0), ("0.5", 0.5), ("1", 1.0), ("1e-1", 0.1)],
        ["-0.1", "1.1", "50%", "nan", "inf", "half"],
    ),
    "MASS_ESCALATION_FLOOR": ([("0", 0), ("25", 25), ("007", 7)], ["-1", "2.5", "1e3", "many", "9" * 10, "١"]),
    "TOKEN_LIFETIME": (
        [("5m", timedelta(minutes=5)), ("1h", timedelta(hours=1)), ("1", timedelta(seconds=1))],
        ["61m", "2h", "0", "999ms", "-5m", "long"],
    ),
    "RATE_LIMIT": ([("500", 500), ("off", 0), ("OFF", 0), ("0", 0)], ["-1", "1.5", "10/s", "none"]),
    "AUDIT_ANCHOR": ([("", None), ("/var/heads", Path("/var/heads")), ("heads", Path("heads"))], []),
    "AUDIT_RETENTION": (
        [
            ("6y", timedelta(days=2192)),
            ("10y", timedelta(days=3653)),
            ("30d", timedelta(days=30)),
            ("720h", timedelta(days=30)),
        ],
        ["0y", "29d", "6 years", "y", "-6y", "1s", "forever"],
    ),
    "RULE_PERIOD": ([("1h", timedelta(hours=1)), ("30s", timedelta(seconds=30))], ["0", "hour", "-1h"]),
    "SWEEP_INTERVAL": (
        [("5s", timedelta(seconds=5)), ("250ms", timedelta(milliseconds=250)), ("1.5m", timedelta(seconds=90))],
        ["0", "0s", "-1s", "5 s", "5sec", "s", "1h30m", "5S"],
    ),
    "UNDO_WITHIN": ([("60s", timedelta(seconds=60)), ("5m", timedelta(minutes=5))], ["0s", "-1s", "soon"]),
    "SWEEP_BATCH": ([("1", 1), ("500", 500)], ["0", "-5", "all", "1.0"]),
    "BODY_LIMIT": (
        [("1", 1), ("5000", 5000), ("200k", 200_000), ("5M", 5_000_000), ("5MB", 5_000_000), ("7b", 7)],
        ["0", "-1", "5G", "5 M", "1.5M", "big", "0k"],
    ),
    "RECONCILE_INTERVAL": ([("1d", timedelta(days=1)), ("6h", timedelta(hours=6))], ["0s", "daily"]),
    "POLL_OVERLAP": ([("125s", timedelta(seconds=125)), ("2h", timedelta(hours=2))], ["0ms", "long"]),
    "REMOTE_TIMEOUT": ([("30", timedelta(seconds=30)), ("1d", timedelta(days=1))], ["never", "0.0s"]),
    "REMOTE_BODY_LIMIT": ([("50M", 50_000_000)], ["0", "none"]),
    "SMTP_URL": (
        [
            ("smtp://h", MailServer(host="h", port=587, tls="starttls")),
            ("smtp://u%40x:p%3A@h:25", MailServer(host="h", port=25, tls="starttls", user="u@x", password="p:")),
            ("smtps://u:p@h", MailServer(host="h", port=465, tls="always", user="u", password="p")),
            ("smtp+plain://127.0.0.1:2525/", MailServer(host="127.0.0.1", port=2525, tls="none")),
            ("", None),
        ],
        ["h:25", "http://h", "smtp://", "smtp+plain://u:p@h", "smtp://h/path", "smtp://h?x=1", "smtp://h:port"],
    ),
    "SMTP_FROM": (
        [("t@x.org", "t@x.org"), ("", "")],
        ["t", "T <t@x.org>", "t@x.org\nBcc: a@b", "a@x.org, b@x.org", "@x"],
    ),
    "NOTIFY_MAIL": (
        [
            ("", {}),
            ("rn=a@x.org", {"rn": ("a@x.org",)}),
            ("role/rn=a@x.org b@x.org a@x.org, *=c@x.org", {"rn": ("a@x.org", "b@x.org"), "*": ("c@x.org",)}),
        ],
        ["rn", "rn=", "rn=a", "RN=a@x.org", "rn=a@x.org, rn=b@x.org", "=a@x.org", "rn=a@x.org\tBcc:"],
    ),
    "NOTIFY_WEBHOOK": (
        [
            ("rn=https://h/x?y=1", {"rn": "https://h/x?y=1"}),
            ("*=http://127.0.0.1:9/x", {"*": "http://127.0.0.1:9/x"}),
        ],
        ["rn=http://h/x", "rn=https://u:p@h", "rn=ftp://h", "rn=h", "https://h", "rn=https://h/#a", "rn=https://h:x/"],
    ),
    "WEBHOOK_SECRET": (
        [("whsec_" + "QUFB" * 8, "whsec_" + "QUFB" * 8), ("", "")],
        ["QUFB" * 8, "whsec_", "whsec_QUFB", "whsec_" + "?" * 32],
    ),
    "STAFF_ROLES": (
        [("", {}), ("http://x|1=rn, |boss=clinic-admin", {"http://x|1": "rn", "|boss": "clinic-admin"})],
        ["1=rn", "http://x|=rn", "http://x|1", "http://x|1=RN", "http://x|1=a b"],
    ),
    "BREAK_GLASS": ([("60m", timedelta(minutes=60)), ("5m", timedelta(minutes=5))], ["0", "always", "-1m"]),
    "SESSION_IDLE": ([("15m", timedelta(minutes=15)), ("2s", timedelta(seconds=2))], ["0", "never", "-1m"]),
    "SESSION_LIFETIME": ([("12h", timedelta(hours=12))], ["0h", "a shift"]),
    "LOCAL_LOGIN": ([("on", True), ("off", False)], ["maybe", "2"]),
    "REDIS_URL": (
        [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("rediss://h", "rediss://h"),
            ("unix:///run/r", "unix:///run/r"),
            ("", ""),
        ],
        ["http://h", "redis://", "localhost:6379"],
    ),
    "INSECURE": (
        [
            ("", frozenset()),
            ("http", frozenset({"http"})),
            (" redis, postgresql ,", frozenset({"redis", "postgresql"})),
        ],
        ["yes", "all", "*", "http redis", "HTTP"],
    ),
    "DISK_ENCRYPTED": ([("yes", True), ("no", False)], ["luks", "2"]),
    "METRICS_TOKEN": ([("m" * 32, "m" * 32)], ["m", "m" * 31]),
    "CORS_ORIGINS": (
        [
            ("", ()),
            ("https://a.example", ("https://a.example",)),
            (
                "http://[::1]:80, https://a.example:8443,https://a.example:8443",
                ("http://[::1]:80", "https://a.example:8443"),
            ),
        ],
        [
            "*",
            "null",
            "a.example",
            "https://a.example/",
            "https://u@a.example",
            "https://",
            "ftp://a",
            "https://*.a.example?",
        ],
    ),
    "PROCESSES": (
        [("auto", 0), ("AUTO", 0), ("1", 1), ("4", 4), ("64", 64)],
        ["0", "65", "-1", "two", "1.5", "100", "٢"],
    ),
    "PROCESS_TIMEOUT": ([("90s", timedelta(seconds=90)), ("", timedelta(seconds=60))], ["0", "soon"]),
    "SEND_TIMEOUT": ([("500ms", timedelta(milliseconds=500)), ("", timedelta(seconds=60))], ["0s", "-1", "never"]),
    "REFERENTIAL_INTEGRITY": ([("on", True), ("", True), ("yes", True), ("OFF", False), ("no", False)], ["warn", "-1"]),
    "REQUIRE_APPROVER": ([("yes", True), ("no", False)], ["always", "2"]),
    "REQUIRE_REASON": ([("yes", True), ("no", False)], ["always", "2"]),
    "REQUIRE_IF_MATCH": ([("yes", True), ("TRUE", True), ("1", True), ("no", False), ("off", False)], ["maybe", "2"]),
}
BY_NAME = {setting.name: setting for setting in SETTINGS}
RIGHT = [(name, text, value) for name, (right, _) in TABLE.items() for text, value in right]
WRONG = [(name, text) for name, (_, wrong) in TABLE.items() for text in wrong]
SECRETS = [setting for setting in SETTINGS if setting.secret]
PLAIN = [setting for setting in SETTINGS if not setting.secret]


def loaded(name: str, text: str) -> object:
    settings = load_settings({"HOME": "/h", PREFIX + name: text})
    return getattr(settings, BY_NAME[name].field)


def test_every_setting_is_in_this_table() -> None:
    assert set(TABLE) == set(BY_NAME)


@pytest.mark.parametrize(("name", "text", "value"), RIGHT)
def test_a_right_text_becomes_its_value(name: str, text: str, value: object) -> None:
    expected = value if text else BY_NAME[name].read(BY_NAME[name].default)
    assert loaded(name, text) == expected


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_text_is_refused_by_name_with_what_would_be_right(name: str, text: str) -> None:
    setting = BY_NAME[name]
    with pytest.raises(UsageError) as caught:
        loaded(name, text)
    message = caught.value.message
    assert message.startswith(f"{setting.variable}: ")
    assert re.search(f"is not an? {setting.kind}: ", message)
    assert message.endswith(".")
    if setting.secret:
        assert repr(text) not in message
    else:
        assert repr(text) in message


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_an_empty_variable_is_the_default(setting: Setting) -> None:
    default = load_settings({"HOME": "/h"})
    assert getattr(load_settings({"HOME": "/h", setting.variable: ""}), setting.field) == getattr(
        default, setting.field
    )


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
def test_a_secret_may_stand_in_a_file_and_is_never_shown(setting: Setting, tmp_path: Path) -> None:
    text, value = TABLE[setting.name][0][0]
    file = tmp_path / "secret"
    for written in (text, f"{text}\n", f"\n  {text} \n"):
        file.write_text(written, encoding="utf-8")
        settings = load_settings({"HOME": "/h", f"{setting.variable}_FILE": str(file)})
        assert getattr(settings, setting.field) == value
        assert text not in repr(settings)


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
def test_a_secret_file_that_cannot_be_used_is_named_by_its_variable(setting: Setting, tmp_path: Path) -> None:
    text = TABLE[setting.name][0][0][0]
    broken, wrong = tmp_path / "broken", tmp_path / "wrong"
    broken.write_bytes(b"\xff\xfe\x00")
    wrong.write_text("\n" + TABLE[setting.name][1][0], encoding="utf-8")
    for file, word in (
        (tmp_path / "none", "cannot be read"),
        (tmp_path, "cannot be read"),
        (broken, "UTF-8"),
        (wrong, "is not "),
    ):
        with pytest.raises(UsageError) as caught:
            load_settings({"HOME": "/h", f"{setting.variable}_FILE": str(file)})
        assert word in caught.value.message
        assert f"{setting.variable}_FILE" in caught.value.message
        assert repr(TABLE[setting.name][1][0]) not in caught.value.message
    with pytest.raises(UsageError, match="keep one"):
        load_settings({"HOME": "/h", setting.variable: text, f"{setting.variable}_FILE": str(wrong)})


@pytest.mark.parametrize("setting", PLAIN, ids=lambda setting: setting.name)
def test_what_is_no_secret_has_no_file(setting: Setting) -> None:
    with pytest.raises(UsageError, match="There is no setting"):
        load_settings({f"{setting.variable}_FILE": "x"})


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_slip_in_a_name_is_answered_with_the_name(setting: Setting) -> None:
    slips = {setting.name[:-1], setting.name + "S", setting.name.replace("_", "", 1), setting.name[1:]} - set(BY_NAME)
    for slip in slips:
        with pytest.raises(UsageError) as caught:
            load_settings({PREFIX + slip: "x"})
        assert f"There is no setting {PREFIX}{slip}." in caught.value.message
        assert "Did you mean FHIR_TRACKER_" in caught.value.message


@pytest.mark.parametrize("name", ["PATH", "FHIR_TRACKERS_X", "fhir_tracker_log_level", "XFHIR_TRACKER_LOG_LEVEL"])
def test_what_has_not_our_prefix_is_not_ours(name: str) -> None:
    assert load_settings({"HOME": "/h", name: "nonsense"}) == load_settings({"HOME": "/h"})


@pytest.mark.parametrize("text", ["mysql://h/n", "x"])
def test_the_option_is_named_when_the_option_is_wrong(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({"FHIR_TRACKER_DATABASE": "sqlite:///right.db"}, database=text)
    assert caught.value.message.startswith("--database: ")


def test_settings_cannot_be_changed_and_equal_when_equal() -> None:
    settings = load_settings({"HOME": "/h"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.log_level = "DEBUG"  # type: ignore[misc]
    assert settings == load_settings({"HOME": "/h"})


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/h"}, "/h/.local/share/fhir-tracker"),
        ({"HOME": "/h", "XDG_DATA_HOME": ""}, "/h/.local/share/fhir-tracker"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, "/h/.local/share/fhir-tracker"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/d"}, "/d/fhir-tracker"),
        ({"XDG_DATA_HOME": "/d"}, "/d/fhir-tracker"),
    ],
)
def test_where_the_default_database_is(environ: dict[str, str], folder: str) -> None:
    assert default_folder(environ) == Path(folder)
    assert load_settings(environ).database_file == Path(folder) / "tracker.db"


@given(st.integers(1, 10**6), st.sampled_from(["ms", "s", "m", "h", ""]))
def test_a_duration_is_its_number_of_units(number: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}[unit]
    assert abs(duration(f" {number}{unit} ").total_seconds() - number * seconds) < 1e-3


@given(st.text(max_size=12))
def test_any_other_text_is_no_duration(text: str) -> None:
    if re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h|d)?\s*", text):
        return
    with pytest.raises(ValueError, match=r"number and a unit|more than 0"):
        duration(text)


@given(st.sampled_from(sorted(TABLE)), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20))
def test_no_text_makes_it_fail_otherwise_than_by_saying_so(name: str, text: str) -> None:
    try:
        loaded(name, text)
    except UsageError as error:
        assert_one_line_about(name, error.message)


def assert_one_line_about(name: str, message: str) -> None:
    assert message.startswith(f"{PREFIX}{name}: ")
    assert len(message.splitlines()) == 1
