"""Rules that were called something else in earlier versions: what fired under the old name has fired under the new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.program import Program, Rule
from fhir_tracker.model.work import Firing, FiringKey


def present(program: Program, key: FiringKey) -> FiringKey:
    """The key under what its rule is called in this version."""
    name = program.renamed.get(key.rule)
    return replace(key, rule=name) if name else key


def as_called(program: Program, fired: Iterable[Firing]) -> tuple[Firing, ...]:
    """Firings under what their rules are called in this version."""
    return tuple(
        replace(one, key=present(program, one.key)) if one.key.rule in program.renamed else one for one in fired
    )


def causes_of(program: Program, cause: str) -> tuple[str, ...]:
    """The cause of a flag (`program#rule`), as it is written under each name that the rule had; none for ""."""
    code, _, rule = cause.partition("#")
    return (cause, *(f"{code}#{name}" for name, now in program.renamed.items() if now == rule)) if cause else ()


def renamed_from(rules: Sequence[Rule], earlier: Sequence[Sequence[Rule]]) -> dict[str, str]:
    """Each name that a rule had in other versions -> what it is called among `rules`, whichever of them told of it.

    A name that one of `rules` has is that rule's own. `earlier` are the rules of other versions, in any order.
    """
    groups: dict[str, frozenset[str]] = {}
    for rule in (one for some in (rules, *earlier) for one in some):
        names = {rule.id, *rule.was}
        together = frozenset(names.union(*(groups.get(name, ()) for name in names)))
        groups |= dict.fromkeys(together, together)
    own = {rule.id for rule in rules}
    found: dict[str, str] = {}
    for rule in rules:
        others = groups[rule.id] - own
        found |= {name: rule.id for name in others if name not in found or name in rule.was}
    return found


def refuse_taken_names(program: Program, others: Iterable[Program]) -> None:
    """Raise RuleBroken where a rule has a name that, as another version says, another of these rules was called by."""
    here = {one.id for one in program.rules}
    for other in others:
        for rule in other.rules:
            taken = sorted(here.intersection(rule.was)) if rule.id in here else []
            if taken:
                raise RuleBroken(
                    f"Version {other.version} says that the rule {rule.id} was called {taken[0]}: what fired under that name is "
                    f"its own. Give the other rule a name that none has had."
                )
