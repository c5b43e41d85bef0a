"""What docs/metrics.md says of each measure, made from its definition."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_tracker.measures.definitions import MEASURES, Measure


def sections() -> Iterator[str]:
    """One section a measure."""
    return (section(one) for one in MEASURES.values())


def section(measure: Measure) -> str:
    """Its heading, population, exclusions, and what it counts by and tells."""
    rate = f" Main value: {measure.main}"
    if measure.rate:
        rate += f" (numerator {measure.rate[0]}, denominator {measure.rate[1]})"
    lines = [
        f"### {measure.title} (`{measure.name}`)",
        "",
        f"Of a {measure.of}. {measure.population}{rate}.",
        "",
        f"- Left out: {measure.exclusions}",
        f"- As of a moment: {measure.as_of}",
        f"- By {', '.join(f'`{one.name}` ({one.means})' for one in measure.keys)}.",
        *(f"- `{one.name}`, {one.unit}: {one.means}." for one in measure.values),
        "",
    ]
    return "\n".join(lines)
