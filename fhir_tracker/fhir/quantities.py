"""The range of values that a decimal stands for by the digits it was written with.

https://hl7.org/fhir/R4/search.html#number
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from fhir_tracker.errors import Incorrect

MAX_EXPONENT = 300


def decimal_range(value: int | Decimal | str) -> tuple[float, float]:
    """The half-open [low, high) of a number: `100` is 99.5 to 100.5, `100.00` 99.995 to 100.005, `1e2` 95 to 105.

    Raises Incorrect for text that is not a finite JSON number in range.
    """
    number = _decimal(value)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise Incorrect("Not a finite number.")
    if abs(number.adjusted()) > MAX_EXPONENT or abs(exponent) > 2 * MAX_EXPONENT:
        raise Incorrect("The number is out of range.")
    half = Decimal((0, (5,), exponent - 1 if exponent <= 0 else exponent - 2))
    return float(number - half), float(number + half)


def _decimal(value: int | Decimal | str) -> Decimal:
    if isinstance(value, str) and not _is_plain(value):
        raise Incorrect("Not a number: use digits, a point and an exponent, such as 5.40 or 1e-3.")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise Incorrect("Not a number: use digits, a point and an exponent, such as 5.40 or 1e-3.") from None


def _is_plain(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isascii() and all(character in "0123456789+-.eE" for character in text)
