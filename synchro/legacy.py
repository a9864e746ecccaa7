"""Reading what synchro 0.x stored: natural keys as the ``repr`` of Python 2 tuples."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

# The only calls that are understood, by the last part of their name. Nothing else is run.
_CALLS: Final[dict[str, Callable[..., Any]]] = {
    "date": date,
    "datetime": datetime,
    "time": time,
    "timedelta": timedelta,
    "Decimal": Decimal,
    "UUID": UUID,
}

_STRING_OR_LONG: Final = re.compile(
    r"""(?P<string>[uUbB]?[rR]?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))|(?P<long>\b\d+)[lL]\b"""
)


def read_key(text: str) -> tuple[Any, ...]:
    """The natural key in a text that 0.x stored, by its syntax tree; nothing is evaluated.

    Raises ValueError if the text is cut off (0.x kept 200 characters) or holds anything but
    literals, dates, times, decimals and UUIDs.
    """
    plain = _STRING_OR_LONG.sub(lambda found: found["string"] or found["long"], text)
    try:
        value = _read(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is not a natural key of synchro 0.x") from error
    if not isinstance(value, tuple):
        raise ValueError(f"{text!r} is not a tuple")
    return value


def _read(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(map(_read, parts))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Call(func=function, args=arguments, keywords=[]):
            name = function.attr if isinstance(function, ast.Attribute) else ""
            name = function.id if isinstance(function, ast.Name) else name
            if name in _CALLS:
                return _CALLS[name](*map(_read, arguments))
    raise ValueError(f"{ast.unparse(node)} cannot be read")
