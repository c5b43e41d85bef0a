"""Regular expressions meet texts of callers: none takes much longer than its text is long (ReDoS), and nothing is unpacked."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from scripts.budgets import ROOT
from tests.support.patterns import doubts, patterns, pumped, scanned

SOUND = {
    "api.cli._INVALID_CHOICE": "a message of argparse about a word of the command line",
    "fhir_tracker.fhir.checks_elements._RESTFUL": "a type begins behind a slash, and holds none",
    "fhir_tracker.fhir.checks_shapes._LANGUAGE": "pieces have different lengths, each behind a dash",
    "fhir_tracker.fhir.patch.locations._AS": "a place is given up at the first space that has no `as` behind it",
    "fhir_tracker.fhir.references._LOCATION": "a type begins behind a slash, and holds none",
    "fhir_tracker.fhir.ucum._COMPONENT": "what stands in brackets ends with a bracket",
    "fhir_tracker.rules.source._LONG": "both repeats end at the next quote",
    "mappings.translation._TASK": "`Task/` is written out, and an id holds no slash",
    "subscriptions.arming._LOCATION": "`Subscription/` is written out, and an id holds no slash",
    "subscriptions.deletions._LOCATION": "a type begins behind a slash, and holds none",
    "subscriptions.notifications._REFERENCE": "a type begins behind a slash, and holds none",
}
"""Where two repeats could share out characters and the rest of the expression keeps them from it, and by what."""
FOUND = patterns()
LONG = 100_000


def test_expressions_are_found_wherever_they_stand() -> None:
    assert len(FOUND) > 120
    assert {"api.edge._HOST_FORM", "subscriptions.notifications._REFERENCE"} <= FOUND.keys()
    assert any(".py:" in place for place in FOUND), "those within calls, too"
    assert scanned()


@pytest.mark.security("S37")
@pytest.mark.parametrize("place", sorted(FOUND.keys() - SOUND.keys()))
def test_no_two_endless_repeats_can_share_out_the_same_characters(place: str) -> None:
    assert doubts(FOUND[place]) == [], FOUND[place].pattern


def test_each_exception_is_still_one_and_says_why_it_is_sound() -> None:
    assert [place for place in SOUND if not doubts(FOUND[place])] == []
    assert all(SOUND.values())


@pytest.mark.security("S37", "S34")
def test_every_expression_answers_to_long_texts_made_to_keep_it_busy() -> None:
    """Their growth is not measured: what is more than linear would not come to its end at such a length."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.patterns", str(LONG)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "all"
    assert len(run.stdout.splitlines()) == len(FOUND) + 1


@pytest.mark.security("S37")
@pytest.mark.parametrize(
    "text",
    [
        r"(a+)+b",
        r"(a*)*b",
        r"(?:a|b+)*c",
        r"a*a*b",
        r"(.*),(.*)",
        r"(?:x-[a-z-]*)*y",
        r"(\w+\s?)*$",
        r"\d+\.?\d+x",
        r"(?:\d{1,99})+x",
        r"(?:[a-z]+)*",
        r"\s+\s*x",
        r"([^<>]*)*>",
        r"(?:a+|[b-z]+a*)+!",
        r"[a-z]+?[a-z0-9]+?x",
    ],
)
def test_what_would_be_slow_is_doubted(text: str) -> None:
    assert doubts(re.compile(text))
    assert any(len(one) > 900 for one in pumped(re.compile(text), 1_000))


@pytest.mark.parametrize(
    "text",
    [
        r"[a-z]+(?:-[a-z]+)*",
        r"\s*,\s*",
        r"(?>a+)+b",
        r"(?:a*+)*b",
        r"(?:[a-z]+-)*x",
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        r"\d{4}-\d{2}",
        r"(?:ab)*c",
        r'"[^"]*"(?:,"[^"]*")*',
    ],
)
def test_what_is_quick_is_not(text: str) -> None:
    assert doubts(re.compile(text)) == []
