"""Why the two verdicts differ where they do: each reason has the words by which a disagreement is known to be of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.agreement.comparing import Pair
from tests.agreement.corpus import OWNED

THEY = "HL7's validator refuses, the tracker accepts"
WE = "the tracker refuses, HL7's validator accepts"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One known difference: `words` is found in a message of whoever refuses."""

    who: str
    what: str
    why: str
    words: str


REASONS = (
    Reason(
        who=THEY,
        what="a profile that is not loaded",
        why="A claim in meta.profile of a profile that nobody has here is a warning of ours, an error of theirs.",
        words="Profile reference .* could not be found",
    ),
    Reason(
        who=THEY,
        what="short object identifiers",
        why="R4's format of an oid allows urn:oid:1.2.3; they want a longer one.",
        words="OIDs must be valid",
    ),
    Reason(
        who=THEY,
        what="addresses of rare schemes",
        why="A system or canonical has to be absolute: to us ftp:, tel:, mailto: and HTTP: are, to them not.",
        words="must be an absolute reference|Canonical URLs must be absolute|Inappropriate CodeSystem URL",
    ),
    Reason(
        who=THEY,
        what="fractions of a second in a time",
        why="R4's format of a time allows 10:00:00.5; they do not.",
        words="Not a valid time",
    ),
    Reason(
        who=THEY,
        what="links of a Bundle",
        why="They allow one link with the relation self; R4 leaves the relations to IANA's list.",
        words="can only occur once",
    ),
    Reason(
        who=THEY,
        what="extensions of other versions",
        why="http://hl7.org/fhir/5.0/... names an element of another version, which R4 servers may be sent; they know no other version.",
        words="invalid Version",
    ),
    Reason(
        who=THEY,
        what="an entry of a transaction without fullUrl",
        why="R4 asks no fullUrl of a transaction's entry; they do where its resource has relative references.",
        words="Bundle entry missing fullUrl",
    ),
    Reason(
        who=THEY,
        what="expressions and names in definitions",
        why="They parse the FHIRPath of a SearchParameter, count the parts of composite ones, and read the names of a StructureMap.",
        words=r"Error in search expression|has a type of 'composite'|The name \S+ is not valid",
    ),
    Reason(
        who=THEY,
        what="base64 on several lines",
        why="R4's format of base64Binary allows white space; they refuse it in some elements.",
        words="is not valid base64",
    ),
    Reason(
        who=WE,
        what="units against the grammar of UCUM",
        why="Two operators or two notes in a row are no unit by UCUM's grammar; they take mg//dL and {a}{b}.",
        words="is not a unit of UCUM",
    ),
    Reason(
        who=WE,
        what="a reference that cannot be followed",
        why="Reference.reference has to be Type/id, absolute, or #id: what could be an address is a warning of ours, other text is"
        " refused; they take any text without blanks.",
        words="is not a reference",
    ),
    Reason(
        who=WE,
        what="markup that no browser should see",
        why="A narrative is one well-formed div without document type, instructions or unknown elements: their parser forgives a"
        " missing end, what follows the end, and prefixes.",
        words="markup|XHTML",
    ),
    Reason(
        who=WE,
        what="base64 with wrong padding or blanks",
        why="Groups of four, blanks between groups only, as R4's format says.",
        words="is not base64",
    ),
    Reason(
        who=WE,
        what="types that are no resources",
        why="Abstract types, as a resourceType, are refused before anything is checked.",
        words="is not one of FHIR R4",
    ),
    Reason(
        who=WE,
        what="minus nought",
        why="R4's format of an integer has no -0.",
        words="whole number",
    ),
    Reason(
        who=WE,
        what="targets of conditional and unusual references",
        why="We take the type from any form of reference that names one, such as Patient?identifier=x; they only from Type/id.",
        words="it may point to",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One pair that differs, with its reason, or None where nobody has one."""

    pair: Pair
    who: str
    reason: Reason | None


def disagreements(pairs: Sequence[Pair]) -> list[Disagreement]:
    """Every pair whose verdicts differ."""
    return [_explained(pair) for pair in pairs if not pair.agrees]


def _explained(pair: Pair) -> Disagreement:
    who, messages = (THEY, pair.theirs) if pair.theirs else (WE, pair.ours)
    text = "\n".join(message for _, message in messages)
    fitting = (one for one in REASONS if one.who == who and re.search(one.words, text))
    return Disagreement(pair=pair, who=who, reason=next(fitting, None))


def share(pairs: Sequence[Pair]) -> float:
    """How many of the pairs agree, 0 to 1."""
    return sum(pair.agrees for pair in pairs) / len(pairs)


def table(pairs: Sequence[Pair]) -> str:
    """What a person reads: agreement by type and by mutation, then each disagreement by its reason."""
    both = [pair for pair in pairs if pair.ours and pair.theirs]
    placed = sum(pair.same_place for pair in both)
    lines = [
        f"agree: {share(pairs):.2%} of {len(pairs)} cases; both refuse {len(both)}, {placed} in the same place",
        "",
    ]
    lines += _counted("type", [(pair.case.type, pair) for pair in pairs])
    lines += ["", *_counted("mutation", [(pair.case.kind, pair) for pair in pairs]), ""]
    found = disagreements(pairs)
    counts = Counter((one.who, one.reason.what if one.reason else "NO REASON KNOWN") for one in found)
    lines += [f"{number:5} {who}: {what}" for (who, what), number in counts.most_common()]
    lines += [_line(one) for one in sorted(found, key=lambda one: one.reason is not None)]
    return "\n".join(lines)


def owned_only(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs of types that the tracker owns; the others are copies of an EHR's, or lists of names."""
    return [pair for pair in pairs if pair.case.type in OWNED]


def _counted(title: str, rows: list[tuple[str, Pair]]) -> list[str]:
    cases = Counter(name for name, _ in rows)
    same = Counter(name for name, pair in rows if pair.agrees)
    return [f"{title:24} {'cases':>6} {'agree':>8}"] + [
        f"{name:24} {cases[name]:6} {same[name] / cases[name]:8.1%}" for name in sorted(cases)
    ]


def _line(one: Disagreement) -> str:
    case = one.pair.case
    said = (one.pair.theirs or one.pair.ours)[0]
    why = one.reason.what if one.reason else "NO REASON KNOWN"
    return f"- {why}: {case.base}, {case.kind} at {case.where or 'its root'}: {said[0]} {said[1][:160]}"
