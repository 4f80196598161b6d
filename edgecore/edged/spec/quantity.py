"""Kubernetes quantities (``500m``, ``1Gi``) as exact numbers. Pure.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from fractions import Fraction
from typing import Final

_QUANTITY: Final = re.compile(
    r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d{1,2}))?"
)
_SUFFIXES: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """Return the number that ``text`` stands for.

    Raises:
        ValueError: it is no quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"not a quantity: {text[:32]!r}")
    sign, digits, suffix, exponent = match.groups()
    number = Fraction(digits) * (_SUFFIXES[suffix] if suffix else 1)
    if exponent:
        number *= Fraction(10) ** int(exponent)
    return -number if sign == "-" else number


def in_units(quantity: str, divisor: str) -> int:
    """Return how many times ``divisor`` fits into ``quantity``, rounded up as kubelet does.

    Raises:
        ValueError: one of them is no quantity.
    """
    unit = parse_quantity(divisor)
    return -(-parse_quantity(quantity) // (unit or 1))
