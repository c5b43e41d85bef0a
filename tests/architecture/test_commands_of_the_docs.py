"""Every command that a page of the docs tells people to type can be typed: it is there, with these options; so are its settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli import COMMANDS, _parser
from fhir_tracker.config import SETTINGS
from scripts.budgets import ROOT
from tests.support.command_line import all_leaves

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {words[0] for words, _ in all_leaves() if len(words) > 1}
SECONDS = {words[:2] for words, _ in all_leaves() if len(words) > 1}


def typed(page: Path) -> Iterator[str]:
    """The commands in blocks of a page, each on one line, without what the shell does with it."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            bare = line.strip().removeprefix("$ ")
            if bare.startswith("fhir-tracker "):
                yield re.split(r"\s+(?:#|&|>|\|)", bare)[0]


EVERY = [(page.name, one) for page in PAGES for one in dict.fromkeys(typed(page))]


@pytest.mark.parametrize(("page", "line"), EVERY, ids=lambda one: str(one)[:60])
def test_every_command_in_a_block_of_the_docs_is_taken(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in COMMANDS, line
    read = _parser(words).parse_args(words)
    assert read is not None


def test_there_are_commands_in_the_docs() -> None:
    assert len(EVERY) > 40
    assert {"README.md", "clients.md", "roles.md", "smart-launch.md", "audit.md"} <= {page for page, _ in EVERY}


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_every_command_that_a_sentence_names_is_there(page: Path) -> None:
    for named in re.findall(r"`fhir-tracker ([a-z-]+(?: [a-z-]+)?)", page.read_text()):
        words = tuple(named.split())
        assert words[0] in COMMANDS, named
        if words[0] in GROUPS and len(words) > 1:
            assert words in SECONDS, named


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_every_setting_that_a_page_names_is_there(page: Path) -> None:
    known = {setting.variable for setting in SETTINGS}
    named = {one.removesuffix("_FILE") for one in re.findall(r"FHIR_TRACKER_[A-Z_]+[A-Z]", page.read_text())}
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_is_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if heading:
            heads = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\s-]", "", one.lower()).strip().replace(" ", "-") for one in heads}, link
