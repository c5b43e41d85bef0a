"""Every command of `fhir-tracker` as its parser knows it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from api.cli import COMMANDS, _parser

Leaf = tuple[tuple[str, ...], argparse.ArgumentParser]
"""The words of a command that can be run, and what reads its options."""


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every command that can be run below a parser."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, one in group.choices.items():
            yield from leaves(one, (*words, name))


def all_leaves() -> list[Leaf]:
    """Every command that can be run."""
    return [leaf for name in COMMANDS for leaf in leaves(_parser([name]))]
