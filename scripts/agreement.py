"""Compare the check of bodies with HL7's validator on more than the tests take: any folders of FHIR JSON, any seed.

    python -m scripts.agreement [--seed N] [--bases N] [--mutants N] [--us-core] [FOLDER...]

Prints agreement by type and by mutation, and every disagreement with its reason; exit 1 if one has none.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.agreement.comparing import compare
from tests.agreement.corpus import FIXTURES, read_corpus, sample
from tests.agreement.reasons import disagreements, table
from tests.agreement.test_agreement import PROFILED, US_CORE, made
from tests.peers.validator.run import running_validator


def main() -> int:
    """Read the folders, compare, print."""
    given = _arguments()
    rng = random.Random(given.seed)  # noqa: S311 - chooses samples
    corpus = read_corpus(tuple(given.folders) or (FIXTURES,))
    bases = [*made(), *sample(corpus, given.bases, rng)]
    profiles = {type_: f"{US_CORE}{type_.lower()}" for type_ in PROFILED} if given.us_core else None
    if profiles:
        bases = [(name, one) for name, one in bases if one["resourceType"] in profiles]
    definitions = FIXTURES / "us-core" / "definitions" if profiles else None
    with running_validator(threads=2, profiles=definitions) as validator:
        pairs = compare(validator, bases, given.mutants, rng, profiles=profiles, rough=True)
    print(table(pairs))
    return int(any(one.reason is None for one in disagreements(pairs)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the check of bodies with HL7's validator.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bases", type=int, default=40, help="resources of each type to start from")
    parser.add_argument("--mutants", type=int, default=20, help="changed copies of each")
    parser.add_argument("--us-core", action="store_true", help="judge by the US Core profiles too")
    parser.add_argument("folders", nargs="*", type=Path, help="instead of fixtures/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
