"""What a role may see and do, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhir_tracker.model.policy import ACTS, Policy

_WORDS = {"c": "create", "r": "read", "u": "change", "d": "delete", "s": "search"}


def in_words(name: str, policy: Policy) -> Iterator[str]:
    """Line by line; the first two say what it is called and what it means."""
    yield f"{name}: {policy.title}"
    if policy.means:
        yield policy.means
    yield ""
    yield "may, of resources (what is not listed is not allowed):"
    by_rights: dict[str, list[str]] = {}
    for grant in policy.grants:
        letters = ", ".join(word for letter, word in _WORDS.items() if letter in grant.rights)
        only = " and ".join(f"{name} {value}" for name, value in grant.filters)
        by_rights.setdefault(letters, []).append(f"{grant.type} with {only}" if only else grant.type)
    yield from (f"  {letters}: {', '.join(types)}" for letters, types in by_rights.items())
    for words, rules in (("never sees, nor sets", policy.hidden), ("sees, and cannot change", policy.fixed)):
        for type_, paths in fields_of(rules).items():
            yield f"{words}, of {type_}: {', '.join(paths)}"
    yield "may besides:" if policy.acts else "may do nothing besides"
    yield from (f"  {ACTS[act]}" for act in ACTS if act in policy.acts)
    for words, names in (("programs", policy.programs), ("places", policy.locations)):
        if names is not None:
            yield f"only work of these {words}: {', '.join(sorted(names)) or 'none'}"
    if policy.restricted:
        yield "sees restricted patients without breaking the glass"


def fields_of(rules: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Paths by type, both in order."""
    return {type_: sorted(paths) for type_, paths in sorted(rules.items())}
