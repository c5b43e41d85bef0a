"""Regular expressions meet texts of callers: none takes much longer than its text is long (ReDoS), and nothing is unpacked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from scripts.budgets import PACKAGES, ROOT, sources
from tests.support.doors import each_call
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


MADE = {
    "api.fhir.binaries": "of constants",
    "api.fhir.negotiation": "of constants",
    "api.fhir.query_text._plain": "what is safe is the code's, and escaped",
    "api.smart.browsers": "of constants",
    "fhir_tracker.fhir.invariants.functions._pattern": "of HL7's constraints, which stand among those above",
    "fhir_tracker.fhir.primitives._matching": "of constants",
    "fhir_tracker.model.allowance": "of constants",
    "fhir_tracker.model.vocabulary": "of constants, and escaped",
    "subscriptions.there.there_in": "of a type's name, which is the code's",
}
"""Where an expression is no text in the code, and of what it is made."""
FORMATTERS = {"msgspec.json", "self"}
"""What has a `format` and is no text: it lays JSON out, and it is a logging.Formatter."""


@pytest.mark.security("S37")
def test_no_expression_is_made_of_what_somebody_sends() -> None:
    """Neither callers nor program files nor EHRs have a say in one; a new place where one is made has to stand in the table."""
    ways = ("compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")
    found = {
        place
        for place, call in each_call(
            *(f"re.{one}" for one in ways), "regex.compile", "fnmatch.fnmatch", "fnmatch.filter"
        )
        if not (call.args and isinstance(call.args[0], ast.Constant))
    }
    assert found == MADE.keys()


@pytest.mark.security("S37", "S24")
def test_no_template_is_made_of_what_somebody_sends() -> None:
    """Pages are files of the package; nothing formats by a text of callers, whose fields could walk to attributes."""
    assert {place for place, _ in each_call("Environment", "jinja2.Environment")} == {
        "api.page_templates.page_templates"
    }
    assert not list(
        each_call("Template", "jinja2.Template", "string.Template", "env.from_string", "environment.from_string")
    )
    assert not list(each_call("eval", "exec", "compile", "__import__"))
    for path in sources(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("from_string", "format_map"), path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                said = ast.unparse(node.func.value)
                assert isinstance(node.func.value, ast.Constant) or said.isupper() or said in FORMATTERS, (path, said)


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
