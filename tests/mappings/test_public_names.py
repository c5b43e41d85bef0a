from __future__ import annotations

import mappings


def test_the_public_names_are_these_and_no_others() -> None:
    assert sorted(mappings.__all__) == [
        "Hint",
        "Mapping",
        "NO_TABLE",
        "Source",
        "Tables",
        "local_reference",
        "mapping_named",
        "mapping_names",
        "read_tables",
    ]
    assert all(hasattr(mappings, name) for name in mappings.__all__)
