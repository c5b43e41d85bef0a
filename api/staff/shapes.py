"""What the templates show: frozen values in words, links and tones, with nothing left to look up or decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from api.staff.places import HERE, Place
from api.staff.words import Tone, When

FieldKind = Literal["text", "textarea", "select", "moment", "hidden", "search", "password", "tick", "ticks"]
"""`tick` is one box, `ticks` one for each choice, called `name.choice`; their value names what is ticked."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A status: icon, the program's own name for it, and its definition on hover or focus."""

    label: str
    means: str = ""
    tone: Tone = ""
    icon: str = "open"


@dataclass(frozen=True, kw_only=True)
class Staff:
    """A person at work: initials in a disc, name, role."""

    initials: str
    name: str
    role: str = ""
    me: bool = False


@dataclass(frozen=True, kw_only=True)
class Tab:
    """One tab or link: `count` is what its list holds, as text, `means` what choosing it means."""

    label: str
    href: str
    current: bool = False
    count: str = ""
    tone: Tone = ""
    means: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One option of a select; `means` is its definition, shown on hover."""

    value: str
    label: str
    means: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input: keeps what was typed in `value`, and shows `error` beside itself."""

    name: str
    label: str
    kind: FieldKind = "text"
    value: str = ""
    choices: tuple[Choice, ...] = ()
    required: bool = False
    hint: str = ""
    error: str = ""
    autocomplete: str = ""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One POST: `error` is about the whole of it, `back` where to go afterwards."""

    action: str
    submit: str
    fields: tuple[Field, ...] = ()
    title: str = ""
    hint: str = ""
    error: str = ""
    back: str = ""
    version: int | None = None
    primary: bool = True
    hidden: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Action:
    """The one most useful next step: a link, or a form without fields when `post`."""

    label: str
    href: str
    post: bool = False
    version: int | None = None
    primary: bool = True


@dataclass(frozen=True, kw_only=True)
class Person:
    """A patient as rows and banners name one."""

    id: str
    name: str
    born: str = ""
    born_year: str = ""
    age: str = ""
    sex: str = ""
    mrn: str = ""
    phone: str = ""
    language: str = ""
    flags: tuple[str, ...] = ()
    deceased: bool = False

    @property
    def href(self) -> str:
        """The patient's page."""
        return f"/patients/{self.id}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a list on a page: what, when, by whom; `href` where there is more, `away` an https address of others."""

    text: str
    when: When | None = None
    note: str = ""
    who: str = ""
    chip: Chip | None = None
    href: str = ""
    away: str = ""
    icon: str = ""


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """How long a session stands if nobody does anything, and how long before its end to warn, in seconds."""

    left: int
    warn: int


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What surrounds every page. `mode` is the sentence of open mode, `said` what was just done.

    `banner` is the patient a launch is locked to, unless the EHR says it shows them itself; `styled`: it told of colours.
    """

    title: str
    mode: str
    csrf: str
    here: str
    nav: tuple[Tab, ...] = ()
    who: Staff | None = None
    said: str = ""
    stale: str = ""
    freshness: str = ""
    density: str = "comfortable"
    keys: bool = True
    version: str = ""
    place: Place = HERE
    session: Lasting | None = None
    banner: Person | None = None
    styled: bool = False
    opens_patient: bool = True
    opens_sync: bool = True
    """Whether links to patients' pages and to how old the data is lead the viewer anywhere."""


@dataclass(frozen=True, kw_only=True)
class Empty:
    """Why a list is empty and what would fill it."""

    why: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One piece of work in a queue; `key` and `digest` are opaque and tell the script what is new or changed."""

    key: str
    digest: str
    href: str
    title: str
    program: str
    icon: str
    tone: Tone
    state: str
    chip: Chip
    action: Action
    person: Person | None = None
    due: When | None = None
    owner: Staff | None = None
    team: str = ""
    priority: str = ""
    pick: str = ""
    version: int | None = None
    escalation: str = ""
    outreach: str = ""
    outreach_when: When | None = None
    next_contact: str = ""
    waiting: str = ""
    hold: str = ""
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class QueueView:
    """The queue page."""

    heading: str
    tabs: tuple[Tab, ...]
    filters: tuple[Field, ...]
    hidden: tuple[tuple[str, str], ...]
    saved: tuple[Tab, ...]
    rows: tuple[Row, ...]
    shown: str
    next_href: str = ""
    first_href: str = ""
    active: tuple[Tab, ...] = ()
    clear_href: str = ""
    empty: Empty | None = None
    pulse: str = ""
    bulk: Form | None = None
    limited: bool = False


@dataclass(frozen=True, kw_only=True)
class BulkView:
    """What became of each row of a bulk step; `counts` in words."""

    heading: str
    counts: str
    lines: tuple[Line, ...]
    back: str


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing to have before closing; `met` ticks it."""

    label: str
    met: bool


@dataclass(frozen=True, kw_only=True)
class RuleAnswer:
    """One rule's answer in words: does it hold, why, what fired, what comes next."""

    title: str
    rule: str
    holds: bool
    why: str
    facts: tuple[tuple[str, str], ...] = ()
    fired: tuple[str, ...] = ()
    next: str = ""
    next_when: When | None = None
    stopped: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One status of the way through the work; `now` is where it stands."""

    label: str
    means: str
    now: bool = False
    past: bool = False


@dataclass(frozen=True, kw_only=True)
class Narrative:
    """What a record says in its own words: of markup that is shown as it is, so it comes from `safe_markup` and nowhere else."""

    title: str
    safe_markup: str


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """The task page; `form` is the form chosen, `menu` the moves there are."""

    heading: str
    program: str
    program_version: str
    chip: Chip
    clock: str
    person: Person | None
    due: When | None
    owner: Staff | None
    team: str
    priority: str
    steps: tuple[Step, ...]
    what: str
    actions: tuple[Action, ...]
    menu: tuple[Tab, ...]
    form: Form | None
    requirements: tuple[Requirement, ...]
    requirements_for: str
    why: tuple[RuleAnswer, ...]
    facts: tuple[tuple[str, str, When | None], ...]
    linked: tuple[Line, ...]
    attempts: tuple[Line, ...]
    history: tuple[Line, ...]
    notes: tuple[Line, ...]
    escalation: str = ""
    about: Line | None = None
    closed: str = ""
    closing: Line | None = None
    outside: bool = False
    refusal: str = ""
    conflict: tuple[Line, ...] = ()
    elsewhere: tuple[Line, ...] = ()
    narratives: tuple[Narrative, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlanView:
    """One enrolment: its stage and next step; `menu` the stages it may take, `form` that of the one chosen."""

    title: str
    program: str
    stage: Chip
    started: When
    next: Line | None
    stages: tuple[Step, ...]
    open: bool = True
    menu: tuple[Tab, ...] = ()
    form: Form | None = None
    undo: Action | None = None
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class DocumentView:
    """One expected document: found (with its date) or missing (since when, and what was filed elsewhere: `near`)."""

    title: str
    program: str
    found: bool
    line: str
    when: When | None = None
    late: bool = False
    near: str = ""


@dataclass(frozen=True, kw_only=True)
class ExceptionView:
    """One exception that a patient is flagged with, and what takes it down."""

    line: Line
    end: Action


@dataclass(frozen=True, kw_only=True)
class PatientView:
    """The patient page: `cards` are those the viewer's role may see, `flag` is there for who may flag, `ends` for who may end."""

    person: Person
    cards: frozenset[str]
    plans: tuple[PlanView, ...]
    work: tuple[Row, ...]
    coming: tuple[Line, ...]
    missed: tuple[Line, ...]
    outreach: tuple[Line, ...]
    documents: tuple[DocumentView, ...]
    timeline: tuple[Line, ...]
    exceptions: tuple[ExceptionView, ...]
    flag: Form | None
    ends: bool
    source: str = ""
    narratives: tuple[Narrative, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number that opens its list."""

    label: str
    number: int
    href: str
    tone: Tone = ""
    icon: str = "open"
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One stacked bar: its parts in order, each with width and offset in percent of the longest bar."""

    label: str
    program: str
    total: int
    href: str
    parts: tuple[BarPart, ...]


@dataclass(frozen=True, kw_only=True)
class BarPart:
    """One part of a bar; `step` is its shade from 0 (young) to 4 (old)."""

    label: str
    number: int
    href: str
    left: float
    width: float
    step: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table; `heat` shades it from 0 to 4."""

    number: int
    href: str = ""
    heat: int = 0


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """One owner's late work by program."""

    label: str
    cells: tuple[Cell, ...]
    total: Cell


@dataclass(frozen=True, kw_only=True)
class TypeHealth:
    """One type of a connection: when it was last read to the end, and how often that is promised."""

    type: str
    complete: When | None
    promised: str
    state: Chip


@dataclass(frozen=True, kw_only=True)
class Health:
    """One connection: how old its data is against what was promised, and what is stuck.

    `outbox` counts what is to be written there, `to_decide` those of it that wait for a person.
    """

    key: str
    address: str
    state: Chip
    age: str
    promised: str
    last_success: When | None
    quarantined: int
    outbox: int = 0
    to_decide: int = 0
    error: str = ""
    types: tuple[TypeHealth, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OperationsView:
    """The operations page."""

    tiles: tuple[Tile, ...]
    ages: tuple[str, ...]
    bars: tuple[Bar, ...]
    programs: tuple[str, ...]
    heat: tuple[HeatRow, ...]
    reasons: tuple[tuple[str, Cell], ...]
    sync: tuple[Health, ...]
    stopped: tuple[str, ...] = ()
    """What the rules and workers do not do just now, a line each."""
    limited: bool = False
    works: bool = True
    """Whether the viewer sees work at all, and queues that list it."""


@dataclass(frozen=True, kw_only=True)
class ProgramView:
    """One program version in words."""

    code: str
    title: str
    version: int
    status: str
    published: When
    by: str
    description: str
    lines: tuple[str, ...]
    statuses: tuple[Chip, ...] = field(default=())
