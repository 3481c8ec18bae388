"""What a verifier may evaluate of a model's answer: literals and arithmetic, nothing that could be a program."""

from __future__ import annotations

import ast
import re
from typing import Any

_FUNCTIONS = {
    "abs", "Abs", "sqrt", "cbrt", "exp", "log", "ln", "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "pi", "oo", "min", "max", "factorial", "Rational",
}  # fmt: skip
_EXPRESSION = re.compile(r"[\w\s+\-*/^().,=%!<>&|~]*")


def checked(text: object) -> str:
    """``text`` where it is an arithmetic expression of numbers, one-letter names and known functions.

    Raises:
      ValueError: it is anything else: an attribute, a string, a name that could be a Python function.
    """
    if not isinstance(text, str) or not _EXPRESSION.fullmatch(text) or re.search(r"__|\.\s*[^\W\d]", text):
        raise ValueError(f"not an arithmetic expression: {text!r:.80}")
    for name in re.findall(r"(?<![\w.])[^\W\d]\w*", text):
        if len(name) > 1 and name not in _FUNCTIONS:
            raise ValueError(f"{name!r} is not a name that an arithmetic expression may use")
    return text


def literal(text: Any, *scopes: Any) -> Any:
    """``eval`` for verifiers: a literal, or arithmetic on numbers. "[1, 2]" -> [1, 2]; "3 + 4" -> 7.

    Raises:
      ValueError: it is neither.
    """
    del scopes
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return eval(checked(text), {"__builtins__": {}}, {})
