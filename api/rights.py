"""What the scopes of a token leave out of what a connection needs.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SCOPE = re.compile(
    r"(?:system|user|patient)/(?P<type>[A-Z][A-Za-z]*|\*)\.(?P<right>read|write|\*|c?r?u?d?s?)(?:\?\S*)?"
)
_OLD = {"read": "rs", "write": "cud", "*": "cruds"}


def missing_rights(granted: str, reads: Sequence[str], writes: Sequence[str]) -> list[str]:
    """`Task (read)` for each type that `granted`, scopes of either version of SMART, does not let us search or write.

    Nothing when `granted` is empty: a server that does not tell has granted what was asked for.
    """
    if not granted.split():
        return []
    held = [match for one in granted.split() if (match := _SCOPE.fullmatch(one))]

    def has(type_: str, needed: str) -> bool:
        of_type = [one for one in held if one["type"] in (type_, "*")]
        return any(set(needed) <= set(_OLD.get(one["right"], one["right"])) for one in of_type)

    def writable(type_: str) -> bool:
        return has(type_, "c") or has(type_, "u")

    return [f"{one} (read)" for one in reads if not has(one, "rs")] + [
        f"{one} (write)" for one in writes if not writable(one)
    ]
