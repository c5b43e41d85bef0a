"""The 63-bit keys of the search index: one number for type, parameter and value.

A key only finds candidates: it never decides what a viewer may see.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from fhir_tracker.fhir.search_shortcuts import aliases, one_system
from fhir_tracker.storage.remembering import remembered

_MASK = (1 << 63) - 1
_MIX = 0x9E3779B97F4A7C15

TASK_COMBINATIONS = ("business-status", "code", "owner", "patient", "performer")
COMBINED = {"Task": ("status", TASK_COMBINATIONS, "authored-on")}
"""Type -> (the parameter that nearly every search gives, its usual partners by key, its partner by date)."""


def digest(*parts: str) -> int:
    """A number below 2**63 for a sequence of texts."""
    return int.from_bytes(blake2b("\x1f".join(parts).encode(), digest_size=8).digest()) >> 1


@lru_cache(maxsize=4096)
def parameter_key(type_: str, param: str) -> int:
    """The key of a parameter of a type, under which its dates, strings and numbers lie."""
    return digest("parameter", type_, param)


@remembered(32768)
def token_key(type_: str, param: str, system: str | None, code: str | None) -> int:
    """`code` in any system (system None), in no system (""), or in that one; any code of a system (code None)."""
    if system is None:
        return digest("code", type_, param, code or "")
    return digest("coding", type_, param, system, code) if code is not None else digest("system", type_, param, system)


def token_keys(type_: str, param: str, system: str | None, code: str | None) -> tuple[int, ...]:
    """The keys of which a resource with such a code has one; `system` and `code` as in `token_key`.

    Where all codes of a parameter have one system, they are kept without it.
    """
    only = one_system(type_, param) if system is not None else None
    if only is None or system != (only.system or ""):
        return (token_key(type_, param, system, code),)
    codes = only.codes if code is None else (code,)
    return tuple(token_key(type_, param, None, one) for one in codes)


def reference_key(type_: str, param: str, target: str) -> int:
    """A reference to `target` (`Type/id` or a URL): the target's own key turned by the parameter's.

    Under an alias that is the key of what it is an alias of.
    """
    alias = aliases(type_).get(param)
    if alias is not None and f"/{alias.type}/" in f"/{target}":
        param = alias.param
    return target_key(target) ^ parameter_key(type_, param)


@remembered(32768)
def target_key(target: str) -> int:
    """The key of a resource (`Type/id`) or URL as what is pointed to, whatever points."""
    return digest("target", target)


@remembered(4096)
def uri_key(type_: str, param: str, uri: str) -> int:
    """A uri as it stands."""
    return digest("uri", type_, param, uri)


@lru_cache(maxsize=4096)
def presence_key(type_: str, param: str) -> int:
    """Whether a resource has any value for a parameter that is kept by key only, and is not mostly there."""
    return digest("present", type_, param)


@lru_cache(maxsize=4096)
def absence_key(type_: str, param: str) -> int:
    """Whether a resource has no value for a parameter that is mostly there."""
    return digest("absent", type_, param)


def together(first: int, second: int) -> int:
    """One key for two values that hold together; the order matters."""
    return (first * _MIX + second) & _MASK
