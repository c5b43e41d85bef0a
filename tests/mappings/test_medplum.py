"""Medplum: members of meta that R4 has not are its server's alone."""

from __future__ import annotations

from mappings import mapping_named
from tests.mappings.fixtures import SOURCE, sent_by

MEDPLUM = mapping_named("medplum")


def test_its_own_members_of_meta_are_left_there() -> None:
    here = MEDPLUM.to_tracker(sent_by("medplum")["Task"], SOURCE)
    assert set(here["meta"]) == {"versionId", "lastUpdated", "tag", "source"}
    back = MEDPLUM.to_ehr(here, SOURCE)
    assert back is not None
    assert set(back["meta"]) == {"tag"}
