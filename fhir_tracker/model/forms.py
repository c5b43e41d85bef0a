"""Forms of a program: questions, what their answers weigh, and which flags their score puts up."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One answer that may be chosen: its words, its weight, and the `system|code`s by which it is also known."""

    text: str
    weight: Decimal
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FormItem:
    """One question; `links` are the linkIds by which other servers know it, besides its code.

    Without `choices` it takes a number, from `least` to `most` where those are given.
    """

    code: str
    text: str
    choices: tuple[Choice, ...] = ()
    links: tuple[str, ...] = ()
    least: Decimal | None = None
    most: Decimal | None = None
    scored: bool = True

    def weigh(self, number: Decimal) -> bool:
        """Whether an answer of that number is one the question can have."""
        if self.choices:
            return any(one.weight == number for one in self.choices)
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)


@dataclass(frozen=True, kw_only=True)
class FormFlag:
    """A flag that is up while the score, or the answer to `item`, is within the bounds."""

    code: str
    at_least: Decimal | None = None
    at_most: Decimal | None = None
    item: str = ""

    def holds(self, number: Decimal) -> bool:
        """Whether that number puts the flag up."""
        return (self.at_least is None or number >= self.at_least) and (self.at_most is None or number <= self.at_most)


@dataclass(frozen=True, kw_only=True)
class Form:
    """One questionnaire; `same_as` are the canonicals or references by which EHRs name it, `needs` how many of the scored
    questions must be answered for a score, `score_code` the `system|code` of the Observation that keeps it ("" for none).
    """

    code: str
    title: str
    means: str = ""
    items: tuple[FormItem, ...] = ()
    flags: tuple[FormFlag, ...] = ()
    same_as: tuple[str, ...] = ()
    needs: int = 0
    score_code: str = ""
    score_title: str = ""

    @property
    def scored(self) -> tuple[FormItem, ...]:
        """The questions that count for the score."""
        return tuple(one for one in self.items if one.scored)
