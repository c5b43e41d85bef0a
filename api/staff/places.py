"""Where the pages of one visit are: the one place that makes the addresses a page gives out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Place:
    """`root` is the path of our public address, mostly nothing; `launch` the public id of a launch, nothing outside one.

    Inside the product an address of a page begins with `/` and knows neither of them.
    """

    root: str = ""
    launch: str = ""

    @property
    def prefix(self) -> str:
        """What every page of this visit is below."""
        return f"{self.root}/l/{self.launch}" if self.launch else self.root

    def at(self, address: str) -> str:
        """An address of a page as the browser asks for it; one that does not begin with `/` stays as it is."""
        return self.prefix + address if address.startswith("/") else address

    def asset(self, path: str) -> str:
        """The same for files that hold nothing of anybody and are the same for all."""
        return self.root + path


HERE = Place()
"""Outside a launch, at the root of the server."""


class Placed(Protocol):
    """What knows its place."""

    @property
    def place(self) -> Place:
        """Where it is."""


def at(address: str, frame: Placed) -> str:
    """The filter `at` of the templates."""
    return frame.place.at(address)


def asset(path: str, frame: Placed) -> str:
    """The filter `asset` of the templates."""
    return frame.place.asset(path)
