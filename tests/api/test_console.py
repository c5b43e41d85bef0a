"""What commands print, how the command line is read, and the key that the first process makes for all."""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli import COMMANDS, PROBLEM, UNREACHABLE, USAGE, _parser, _refused, main
from api.console import print_json, print_table, progress
from api.stores import key_file, open_store, secret_key
from fhir_tracker import errors
from fhir_tracker.config import load_settings
from fhir_tracker.errors import Issue, TrackerError, UsageError
from tests.support.command_line import all_leaves, leaves

ROOT = Path(__file__).parents[2]


def test_a_table_has_its_columns_under_their_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "n"), [("a long name", 1), ("", None), ("b", 0)])
    assert capsys.readouterr().out == "name         n\na long name  1\n-            -\nb            0\n"
    print_table(("name", "n"), [])
    assert capsys.readouterr().out == "name  n\n"


@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, [], {"when": "2026-01-01"}, "x", 1.5])
def test_json_is_printed_readably_and_whole(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert "\\u" not in said


def test_progress_is_told_in_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Counting") as tell:
        tell("one")
        tell("two")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Counting ...\nCounting: one\nCounting: two\n")


ALL = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, TrackerError)]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_each_error_has_its_exit_code_and_its_lines(
    cls: type[TrackerError], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = USAGE if issubclass(cls, errors.UsageError) else PROBLEM
    expected = UNREACHABLE if issubclass(cls, errors.Unavailable) else expected
    assert _refused(cls("That did not work.")) == expected
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "fhir-tracker: That did not work.\n")


def test_a_flood_of_issues_is_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    issues = tuple(Issue(message=f"problem {number}") for number in range(500))
    assert _refused(errors.Incorrect("500 problems", issues=issues)) == PROBLEM
    assert len(capsys.readouterr().err.splitlines()) == 51


LEAVES = all_leaves()


def test_a_named_command_is_read_as_its_branch_and_without_one_the_names_are_told() -> None:
    for name in COMMANDS:
        assert {words[0] for words, _ in leaves(_parser([name]))} == {name}
    for words, _ in LEAVES:
        assert words in [one for one, _ in leaves(_parser(["--json", *words]))]
    assert [words for words, _ in leaves(_parser(["--help"]))] == [(name,) for name in COMMANDS]


def test_reading_a_command_line_leaves_the_collector_as_it_was() -> None:
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    try:
        for switch, is_on in ((gc.disable, False), (gc.enable, True)):
            switch()
            assert main(["version"]) == 0
            assert gc.isenabled() is is_on
            with pytest.raises(SystemExit):
                main(["version", "--nonsense"])
            assert gc.isenabled() is is_on
        assert gc.get_freeze_count() <= frozen, "what others made stays within its reach"
    finally:
        (gc.enable if was_on else gc.disable)()


@pytest.mark.parametrize(
    ("words", "parser"), LEAVES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_takes_database_and_json_and_every_option_is_explained(
    words: tuple[str, ...], parser: argparse.ArgumentParser
) -> None:
    assert {"--database", "--json"} <= parser._option_string_actions.keys()
    unexplained = [one.option_strings for one in parser._actions if one.option_strings and not one.help]
    assert unexplained == []
    assert f"fhir-tracker {' '.join(words)}" in parser.format_help().replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "parser"), LEAVES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_no_option_may_be_cut_short_and_no_word_left_over(
    words: tuple[str, ...], parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in ("--databas=x", "--jso", "--nonsense"):
        with pytest.raises(SystemExit, match="2"):
            _parser([*words]).parse_args([*words, extra])
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert said.startswith("fhir-tracker")
        assert "--help" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_slip_in_a_command_is_answered_with_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    slip = name[:-1] + "x" if len(name) < 6 else name[:-1]
    with pytest.raises(SystemExit, match="2"):
        _parser([slip]).parse_args([slip])
    said = capsys.readouterr().err
    assert f"there is no {slip!r}" in said
    assert re.search(f"did you mean {name}|choose from .*{name}", said)


@given(st.lists(st.text(max_size=10), max_size=4))
def test_no_words_make_the_reader_fail_otherwise_than_by_saying_so(words: list[str]) -> None:
    given_ = ["--" if word == "--" else word.replace("\0", "") for word in words]
    stderr, sys.stderr = sys.stderr, open("/dev/null", "w")  # noqa: SIM115 - closed below
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        _parser(given_).parse_args(given_)
    except SystemExit as ended:
        code = ended.code
    else:
        code = 0
    finally:
        sys.stderr.close()
        sys.stderr, sys.stdout = stderr, stdout
    assert code in (0, 2)


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    settings = load_settings({"XDG_DATA_HOME": str(tmp_path)}, database=f"sqlite:///{tmp_path / 'new' / 't.db'}")
    keys: list[str] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        keys.append(secret_key(settings))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert [path.name for path in key_file(settings).parent.iterdir()] == ["t.db.key"]


def test_what_a_killed_process_left_behind_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    settings = load_settings({"XDG_DATA_HOME": str(tmp_path)}, database=f"sqlite:///{tmp_path / 't.db'}")
    for left in (f".t.db.key.{os.getpid()}", ".t.db.key.half"):
        (tmp_path / left).write_text("half a k", encoding="utf-8")
    assert len(secret_key(settings)) >= 32


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o602])
def test_a_key_that_anybody_else_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    settings = load_settings({"XDG_DATA_HOME": str(tmp_path)}, database=f"sqlite:///{tmp_path / 't.db'}")
    secret_key(settings)
    key_file(settings).chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        secret_key(settings)


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    settings = load_settings(
        {"XDG_DATA_HOME": str(tmp_path)}, database=f"sqlite:///{tmp_path / 'file' / 'sub' / 't.db'}"
    )
    with pytest.raises(UsageError, match="folder"), open_store(settings):
        pass
    with pytest.raises(UsageError, match="cannot be used"):
        secret_key(settings)


def test_every_option_is_in_the_docs() -> None:
    docs = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    missing = [
        f"{' '.join(words)} {option}"
        for words, parser in LEAVES
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option not in docs and action.help != argparse.SUPPRESS and option != "--help"
    ]
    assert missing == []
