"""What the rules of a program version were called in others, kept with the version as it was published."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_SAID = "a program version never changes: publish a new one"


def upgrade() -> None:
    op.add_column("program", sa.Column("renamed", sa.Text(), nullable=False, server_default="{}"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER program_names_stay BEFORE UPDATE ON program FOR EACH ROW "
            "WHEN (NEW.renamed IS DISTINCT FROM OLD.renamed) EXECUTE FUNCTION program_stays()"
        )
    else:
        op.execute(
            "CREATE TRIGGER program_names_stay BEFORE UPDATE ON program WHEN NEW.renamed IS NOT OLD.renamed "
            f"BEGIN SELECT RAISE(ABORT, '{_SAID}'); END"
        )
