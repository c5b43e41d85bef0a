"""Uris by their path and combinations with two numbers can be found in what was stored before; keys are made anew by 0005."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fhir_tracker.storage.migrations.stored import indexed

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXT = sa.text("INSERT INTO ixs (h, v, k, exact) VALUES (:h, :v, :k, :exact) ON CONFLICT DO NOTHING")
_NUMBER = sa.text("INSERT INTO ixn (h, lo, k, hi) VALUES (:h, :lo, :k, :hi) ON CONFLICT DO NOTHING")


def upgrade() -> None:
    connection = op.get_bind()
    for found in indexed(connection):
        texts = [{"h": h, "v": v, "k": k, "exact": exact} for k, one in found for h, v, exact in sorted(one.strings)]
        numbers = [{"h": h, "lo": low, "k": k, "hi": high} for k, one in found for h, low, high in sorted(one.numbers)]
        for statement, given in ((_TEXT, texts), (_NUMBER, numbers)):
            if given:
                connection.execute(statement, given)
