"""The same figures by statements written by hand, on the driver alone: what each panel is held against."""

from __future__ import annotations

from collections.abc import Mapping

_RANKED = """
SELECT {keys}, max(n), max(CASE WHEN r = (n * 50 + 99) / 100 THEN since END),
  max(CASE WHEN r = (n * 90 + 99) / 100 THEN since END), min(since)
FROM (SELECT {keys}, since, row_number() OVER (PARTITION BY {keys} ORDER BY since DESC) AS r,
  count(*) OVER (PARTITION BY {keys}) AS n FROM ({rows}) AS rows) AS ranked
GROUP BY {keys} ORDER BY {keys}"""
_SUMMED = (
    "SELECT {keys}, sum(n), sum(seconds) FROM figure_hour "
    "WHERE what = '{what}' AND hour >= {first} AND hour < {last} GROUP BY {keys} ORDER BY {keys}"
)


def statements(first: int, last: int, now: int, is_open: str) -> Mapping[str, str]:
    """Measure -> statement, for the hours `first` until before `last` and the moment `now` in microseconds; `is_open` is
    how the database says that an item is open.
    """

    def summed(what: str, keys: str) -> str:
        return _SUMMED.format(what=what, keys=keys, first=first, last=last)

    aging = (
        "SELECT kind, coalesce(program, '') AS program, status, status_since AS since FROM work_item "
        f"WHERE {is_open} AND kind <> 'outside'"
    )
    overdue = (
        "SELECT coalesce(owner, '') AS owner, coalesce(role, '') AS role, coalesce(program, '') AS program, "
        f"due_at AS since FROM work_item WHERE {is_open} AND kind <> 'outside' AND kind <> 'plan' AND clock = 'running' "
        f"AND due_at < {now}"
    )
    return {
        "aging": _RANKED.format(keys="kind, program, status", rows=aging),
        "overdue": _RANKED.format(keys="owner, role, program", rows=overdue),
        "escalations": summed("escalated", "program, a, b, c"),
        "outreach": summed("tried", "program, a, b"),
        "closed-work": summed("closed", "program, a, b, c"),
        "on-time": summed("timely", "program, a, b"),
        "handoffs": summed("handed", "program, a, b"),
    }
