"""Every table: resources and their index here, work in `work_tables`, running matters in `running_tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table, Text, UniqueConstraint

from fhir_tracker.storage.types import CText, Key, Moment

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

key_block = Table(
    "key_block", metadata, Column("id", Integer, primary_key=True), Column("next", BigInteger, nullable=False)
)

resource = Table(
    "resource",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("body", Text, nullable=False),
    Column("patient", Text),
    Column("connection", Text),
    Column("remote_id", Text),
    Column("remote_version", Text),
    Column("content_hash", Text),
    UniqueConstraint("type", "id"),
    Index(None, "type", "k"),
    Index(None, "type", "updated_at", "k"),
)
Index(None, resource.c.patient, resource.c.type, resource.c.k)
Index(
    None,
    resource.c.connection,
    resource.c.type,
    resource.c.remote_id,
    sqlite_where=resource.c.connection.is_not(None),
    postgresql_where=resource.c.connection.is_not(None),
)

resource_version = Table(
    "resource_version",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("updated_at", Moment, nullable=False),
    Column("op", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("patient", Text),
    Column("body", Text),
    Index(None, "updated_at", "k", "version"),
    sqlite_with_rowid=False,
)

remote_body = Table(
    "remote_body",
    metadata,
    Column("k", Key, primary_key=True, autoincrement=False),
    Column("patient", Text),
    Column("body", Text, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("txid", BigInteger, nullable=False),
    Column("k", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("op", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("patient", Text),
    Index(None, "txid", "seq"),
    sqlite_autoincrement=True,
)

consumer = Table(
    "consumer",
    metadata,
    Column("name", Text, primary_key=True),
    Column("txid", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

ix = Table(
    "ix",
    metadata,
    Column("h", BigInteger, primary_key=True, autoincrement=False),
    Column("k", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

ixd = Table(
    "ixd",
    metadata,
    Column("h", BigInteger, primary_key=True, autoincrement=False),
    Column("lo", BigInteger, primary_key=True, autoincrement=False),
    Column("k", BigInteger, primary_key=True, autoincrement=False),
    Column("hi", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

ixs = Table(
    "ixs",
    metadata,
    Column("h", BigInteger, primary_key=True, autoincrement=False),
    Column("v", CText, primary_key=True),
    Column("k", BigInteger, primary_key=True, autoincrement=False),
    Column("exact", CText, primary_key=True),
    sqlite_with_rowid=False,
)

ixn = Table(
    "ixn",
    metadata,
    Column("h", BigInteger, primary_key=True, autoincrement=False),
    Column("lo", Float(53), primary_key=True),
    Column("k", BigInteger, primary_key=True, autoincrement=False),
    Column("hi", Float(53), primary_key=True),
    sqlite_with_rowid=False,
)
