"""The settings of the product: one frozen object, one table, read from `FHIR_TRACKER_*` variables and nowhere else."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from fhir_tracker import failpoints
from fhir_tracker import setting_texts as texts
from fhir_tracker.addresses import (
    MailServer,
    mail_server,
    mails_of_roles,
    origins,
    role_codes,
    sender,
    webhook_secret,
    webhooks_of_roles,
)
from fhir_tracker.errors import UsageError

PREFIX = "FHIR_TRACKER_"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set: durations as timedelta, sizes in bytes, limits on escalation as share and number."""

    database: str = field(repr=False)
    secret_key: str = field(repr=False)
    public_url: str
    log_level: str
    mass_escalation_limit: float
    mass_escalation_floor: int
    sweep_interval: timedelta
    undo_within: timedelta
    rule_period: timedelta
    sweep_batch: int
    body_limit: int
    poll_overlap: timedelta
    reconcile_interval: timedelta
    remote_timeout: timedelta
    remote_body_limit: int
    redis_url: str = field(repr=False)
    require_if_match: bool
    referential_integrity: bool
    require_approver: bool
    require_reason: bool
    processes: int
    """0 stands for `auto`."""
    process_timeout: timedelta
    send_timeout: timedelta
    smtp_url: MailServer | None = field(repr=False)
    smtp_from: str
    notify_mail: Mapping[str, tuple[str, ...]] = field(repr=False)
    notify_webhook: Mapping[str, str] = field(repr=False)
    webhook_secret: str = field(repr=False)
    staff_roles: Mapping[str, str]
    insecure: frozenset[str]
    disk_encrypted: bool
    metrics_token: str = field(repr=False)
    cors_origins: tuple[str, ...]
    token_lifetime: timedelta
    rate_limit: int
    session_idle: timedelta
    break_glass: timedelta
    session_lifetime: timedelta
    local_login: bool

    audit_anchor: Path | None
    audit_retention: timedelta

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database; None for a server."""
        prefix = "sqlite:///"
        return Path(self.database.removeprefix(prefix)) if self.database.startswith(prefix) else None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table: `name` without prefix, how its text is read, its default as text, and help for people."""

    name: str
    kind: str
    read: Callable[[str], object]
    default: str
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.name

    @property
    def field(self) -> str:
        """The name of the field of Settings."""
        return self.name.lower()


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="DATABASE",
        kind="address",
        read=texts.database,
        default="",
        secret=True,
        help="`sqlite:///FILE` or `postgresql://USER@HOST/NAME`. Without it: `tracker.db` in the folder `fhir-tracker` "
        "of `XDG_DATA_HOME` (or of `~/.local/share`). The option `--database` goes before it.",
    ),
    Setting(
        name="SECRET_KEY",
        kind="text",
        read=texts.secret,
        default="",
        secret=True,
        help="Signs what a browser keeps for us and seals our signing keys; 32 characters or more, the same for every process, kept "
        "for as long as the database. Without it one is "
        "made and kept in a file only its owner can read, beside the SQLite database.",
    ),
    Setting(
        name="PUBLIC_URL",
        kind="address",
        read=texts.address,
        default="",
        help="The address under which others reach this server; it begins every link the FHIR API gives out, "
        "and EHRs tell us of changes below it. Without it: the address the server listens on, and EHRs are only polled.",
    ),
    Setting(
        name="LOG_LEVEL",
        kind="word",
        read=texts.log_level,
        default="INFO",
        help="How much is logged to standard error: `DEBUG`, `INFO`, `WARNING` or `ERROR`. No level logs patient data.",
    ),
    Setting(
        name="MASS_ESCALATION_LIMIT",
        kind="share",
        read=texts.share,
        default="0.5",
        help="If one sweep would escalate more than this share of the open work of a program, or of all, it stops and asks a person; 0 "
        "switches the brake off.",
    ),
    Setting(
        name="MASS_ESCALATION_FLOOR",
        kind="number",
        read=texts.count,
        default="25",
        help="Fewer escalations than this in one sweep never trip the brake.",
    ),
    Setting(
        name="SWEEP_INTERVAL",
        kind="duration",
        read=texts.duration,
        default="5s",
        help="How often the worker looks for items whose time has come.",
    ),
    Setting(
        name="UNDO_WITHIN",
        kind="duration",
        read=texts.duration,
        default="60s",
        help="How long the one who moved work can take the move back.",
    ),
    Setting(
        name="RULE_PERIOD",
        kind="duration",
        read=texts.duration,
        default="1h",
        help="A rule with open work that was not asked for so long has some of it looked at; after two, it is an alert.",
    ),
    Setting(
        name="SWEEP_BATCH",
        kind="number",
        read=texts.positive,
        default="500",
        help="How many due items one worker claims at a time.",
    ),
    Setting(
        name="BODY_LIMIT",
        kind="size",
        read=texts.size,
        default="5M",
        help="The largest request body the FHIR API accepts; a larger one is answered 413.",
    ),
    Setting(
        name="POLL_OVERLAP",
        kind="duration",
        read=texts.duration,
        default="125s",
        help="How far each poll of an EHR reaches back before the last one, for rows that were committed late.",
    ),
    Setting(
        name="RECONCILE_INTERVAL",
        kind="duration",
        read=texts.duration,
        default="1d",
        help="How often all that an EHR holds is compared with what is here, to find what every other way missed.",
    ),
    Setting(
        name="REMOTE_TIMEOUT",
        kind="duration",
        read=texts.duration,
        default="30s",
        help="How long one request to an EHR may take in all.",
    ),
    Setting(
        name="REMOTE_BODY_LIMIT",
        kind="size",
        read=texts.size,
        default="50M",
        help="The largest answer taken from an EHR, after decompression.",
    ),
    Setting(
        name="REDIS_URL",
        kind="address",
        read=texts.redis,
        default="",
        secret=True,
        help="`redis://HOST:6379/0`: the broker of the scale-out mode. Without it workers only look into the database.",
    ),
    Setting(
        name="REQUIRE_IF_MATCH",
        kind="switch",
        read=texts.switch,
        default="no",
        help="Whether the FHIR API answers 400 to an update, patch or delete of a resource that says nothing in "
        "`If-Match` about the version it knows.",
    ),
    Setting(
        name="REFERENTIAL_INTEGRITY",
        kind="switch",
        read=texts.switch,
        default="on",
        help="Whether the FHIR API answers 409 to a delete of what current resources still refer to; `off` lets their "
        "references lead nowhere.",
    ),
    Setting(
        name="REQUIRE_APPROVER",
        kind="switch",
        read=texts.switch,
        default="no",
        help="Whether a new version of any program needs the approval of a second person before it takes effect; a "
        "program can ask for it itself with `change_control`.",
    ),
    Setting(
        name="REQUIRE_REASON",
        kind="switch",
        read=texts.switch,
        default="no",
        help="Whether publishing, approving and rolling back a program version needs a reason.",
    ),
    Setting(
        name="PROCESSES",
        kind="number",
        read=texts.process_count,
        default="auto",
        help="How many processes of `serve` share its port. `auto` is one for each core on PostgreSQL, at most 4, and one on "
        "SQLite, whose writers take turns. Each has up to 22 connections to the database. The option `--processes` goes "
        "before it.",
    ),
    Setting(
        name="PROCESS_TIMEOUT",
        kind="duration",
        read=texts.duration,
        default="60s",
        help="How long one of several processes may hang, while others go on, until it is ended and another takes its "
        "place.",
    ),
    Setting(
        name="SEND_TIMEOUT",
        kind="duration",
        read=texts.duration,
        default="60s",
        help="How long a client may take nothing of an answer until its connection is ended.",
    ),
    Setting(
        name="SMTP_URL",
        kind="address",
        read=mail_server,
        default="",
        secret=True,
        help="`smtp://USER:PASSWORD@HOST:587` (TLS by STARTTLS, which must be there), `smtps://` (TLS from the start) or "
        "`smtp+plain://HOST:25` (none, without a password): what sends notifications by mail. Without it none are sent, "
        "and `notifications list` says so.",
    ),
    Setting(
        name="SMTP_FROM",
        kind="address",
        read=sender,
        default="",
        help="The address that mails come from; needed with `FHIR_TRACKER_SMTP_URL`.",
    ),
    Setting(
        name="NOTIFY_MAIL",
        kind="text",
        read=mails_of_roles,
        default="",
        help="Where mail for a role goes: `rn=nurses@clinic.example, provider=a@clinic.example b@clinic.example`, `*` for every "
        "other role. For a role that is not named: the work addresses (Practitioner.telecom) of those who have it and are "
        "not away.",
    ),
    Setting(
        name="NOTIFY_WEBHOOK",
        kind="text",
        read=webhooks_of_roles,
        default="",
        secret=True,
        help="Where webhook calls for a role go: `rn=https://chat.example.org/hook, *=https://...`. Nothing else is ever called.",
    ),
    Setting(
        name="WEBHOOK_SECRET",
        kind="text",
        read=webhook_secret,
        default="",
        secret=True,
        help="Signs webhook calls (Standard Webhooks): `whsec_` and base64 of 24 to 64 random bytes; needed with "
        "`FHIR_TRACKER_NOTIFY_WEBHOOK`.",
    ),
    Setting(
        name="STAFF_ROLES",
        kind="text",
        read=role_codes,
        default="",
        help="Further codes of PractitionerRole and the roles they stand for: `SYSTEM|CODE=role, ...`. They go before the "
        "product's own table.",
    ),
    Setting(
        name="INSECURE",
        kind="text",
        read=texts.insecure,
        default="",
        help="What `serve` (without `--open`) and `worker` otherwise refuse, words parted by commas: `http` (a public address that "
        "is not https, off this machine), `postgresql` and `redis` (on another machine without TLS), `secret-key` (one that can "
        "be guessed), `failpoint` (tests that end processes).",
    ),
    Setting(
        name="DISK_ENCRYPTED",
        kind="switch",
        read=texts.switch,
        default="no",
        help="Whether a person has seen to it that the disk of a SQLite database, and of its backups, is encrypted; without that "
        "`serve` and `doctor` warn.",
    ),
    Setting(
        name="METRICS_TOKEN",
        kind="text",
        read=texts.secret,
        default="",
        secret=True,
        help="What whoever reads `/metrics`, `/docs` and `/openapi.json` sends as `Authorization: Bearer`; 32 characters or more. "
        "Without it a server that is not open shows them to nobody.",
    ),
    Setting(
        name="CORS_ORIGINS",
        kind="text",
        read=origins,
        default="",
        help="Origins of web pages that may call the FHIR API from a browser, parted by commas: `https://app.example.org`. Without "
        "it none may. Never `*`, and no cookies are sent along.",
    ),
    Setting(
        name="TOKEN_LIFETIME",
        kind="duration",
        read=texts.token_lifetime,
        default="5m",
        help="How long the access tokens count that this server gives to systems; at most `1h`.",
    ),
    Setting(
        name="RATE_LIMIT",
        kind="number",
        read=texts.rate,
        default="500",
        help="How many requests a second one client of the FHIR API may make of each process, for a short while twice as many; "
        "above it the answer is 429. `off` or 0 sets no limit.",
    ),
    Setting(
        name="SESSION_IDLE",
        kind="duration",
        read=texts.duration,
        default="15m",
        help="How long somebody may do nothing until the pages log them off; they are warned 2 minutes before. What a page "
        "asks for by itself does not count as doing something.",
    ),
    Setting(
        name="BREAK_GLASS",
        kind="duration",
        read=texts.duration,
        default="60m",
        help="How long a restricted record stays open to somebody who broke the glass for it, with a reason "
        "([roles](roles.md)); then it is shut again by itself.",
    ),
    Setting(
        name="SESSION_LIFETIME",
        kind="duration",
        read=texts.duration,
        default="12h",
        help="How long a session of the pages lasts at most, whatever is done in it.",
    ),
    Setting(
        name="LOCAL_LOGIN",
        kind="switch",
        read=texts.switch,
        default="off",
        help="Whether people with a local account (name, password and a code from an app) may log in, besides those an EHR "
        "or a login provider vouches for.",
    ),
    Setting(
        name="AUDIT_ANCHOR",
        kind="file",
        read=texts.file,
        default="",
        help="The file to which the head of the audit trail's chain is added, which `audit verify` compares: one of its own for each "
        "database, best on another machine's disk or one that is only added to. Without it: beside the SQLite database, its name "
        "with `.anchor`; for PostgreSQL the log alone has the heads.",
    ),
    Setting(
        name="AUDIT_RETENTION",
        kind="duration",
        read=texts.retention,
        default="6y",
        help="How long the rows of the audit trail are kept; `audit prune` takes away none that is younger. A number and `y`, or as "
        "other durations; at least `30d`.",
    ),
)


def load_settings(environ: Mapping[str, str], *, database: str | None = None) -> Settings:
    """Settings from the environment; `database` (the command line's) goes before the variable.

    Raises UsageError for an unknown `FHIR_TRACKER_` variable, a value that cannot be read, or a `_FILE` that cannot.
    """
    _refuse_unknown(environ)
    values = {setting.field: _value(setting, environ) for setting in SETTINGS}
    if database is not None:
        values["database"] = _read(next(row for row in SETTINGS if row.name == "DATABASE"), database, "--database")
    values["database"] = values["database"] or f"sqlite:///{default_folder(environ) / 'tracker.db'}"
    return Settings(**values)  # type: ignore[arg-type]


def default_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the default database: `fhir-tracker` under XDG_DATA_HOME, which must be absolute to count."""
    given = Path(environ.get("XDG_DATA_HOME", ""))
    home = Path(environ.get("HOME") or "~").expanduser()
    return (given if given.is_absolute() else home / ".local" / "share") / "fhir-tracker"


def settings_page() -> str:
    """The page `docs/settings.md`, made from the table."""
    rows = [
        f"| `{setting.variable}`{' (or `_FILE`)' if setting.secret else ''} | {setting.kind} "
        f"| {f'`{setting.default}`' if setting.default else ''} | {setting.help} |"
        for setting in SETTINGS
    ]
    return "\n".join((_PAGE_HEAD, *rows, ""))


_PAGE_HEAD = """# Settings

Settings are environment variables and nothing else. A name that is not in this table, or a value that cannot be read,
stops the command with exit code 2. Durations are a number and `ms`, `s`, `m`, `h` or `d`; sizes are bytes, or a number
and `k` or `M`. Where `_FILE` is named, `<variable>_FILE` may name a file that holds the value instead. This page comes
from `fhir_tracker/config.py`.

| variable | kind | default | what it does |
|---|---|---|---|"""


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = [setting.variable for setting in SETTINGS]
    known += [f"{setting.variable}_FILE" for setting in SETTINGS if setting.secret]
    known.append(failpoints.VARIABLE)
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            own = [one.removeprefix(PREFIX) for one in known]
            near = difflib.get_close_matches(name.removeprefix(PREFIX), own, n=1)
            hint = f" Did you mean {PREFIX}{near[0]}?" if near else " See docs/settings.md for those there are."
            raise UsageError(f"There is no setting {name}.{hint}")


def _value(setting: Setting, environ: Mapping[str, str]) -> object:
    text, source = environ.get(setting.variable, ""), setting.variable
    file = environ.get(f"{setting.variable}_FILE") if setting.secret else None
    if file:
        if text:
            raise UsageError(f"Both {setting.variable} and {setting.variable}_FILE are set; keep one.")
        source = f"{setting.variable}_FILE"
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"{source} cannot be read: {reason}.") from None
    return _read(setting, text or setting.default, source)


def _read(setting: Setting, text: str, source: str) -> object:
    try:
        return setting.read(text)
    except ValueError as error:
        shown = "its value" if setting.secret else repr(text[:60])
        article = "an" if setting.kind == "address" else "a"
        reason = str(error) if not str(error).startswith("could not convert") else "use a number"
        raise UsageError(f"{source}: {shown} is not {article} {setting.kind}: {reason}.") from None
