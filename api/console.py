"""What commands print: tables for people, JSON for programs, progress on a terminal and plain lines elsewhere."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


def print_json(value: object) -> None:
    """One JSON value, indented, on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns lined up under their heads; no borders, so that the output can be cut and searched."""
    texts = [[_cell(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(heads))]
    for row in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_lines(lines: Iterable[str]) -> None:
    """Lines that hold other people's words, which drive no terminal and begin no line of their own."""
    for line in lines:
        print(printable(line).replace("\n", " "))


def show_everything(*streams: object) -> None:
    """Have streams write out, as `\\u2013`, what their encoding has no character for, instead of failing."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Without characters that would drive a terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in text)


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str], None]]:
    """Tell how long work goes on: a spinner with the latest line on a terminal, plain lines elsewhere; on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(doing) as status:
            yield lambda line: status.update(f"{doing}: {line}")
    else:
        print(f"{doing} ...", file=sys.stderr)
        yield lambda line: print(f"{doing}: {line}", file=sys.stderr)


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else printable(str(value)).replace("\n", " ")
