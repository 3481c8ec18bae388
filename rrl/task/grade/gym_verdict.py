"""reasoning-gym's verdict on one answer; runs in the judge's process only, for importing this changes that library.

Several of its verifiers call ``eval`` or sympy's ``parse_expr`` (which is ``eval``) on the answer: a model could run
code by answering with it. Here both read literals and arithmetic only, and anything else is a wrong answer.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import sympy
from reasoning_gym.factory import create_dataset
from sympy.parsing.sympy_parser import parse_expr

from rrl.task.grade.arithmetic import checked, literal


def gym_score(name: str, config: str, item: dict[str, Any], answer: str) -> float:
    """The data set's own score, usually in [0, 1].

    Args:
      name: of the data set.
      config: its arguments, as JSON.
      item: question, answer and metadata as the data set made them.
      answer: what the response states.
    """
    return float(_dataset(name, config).score_answer(answer, item))


@functools.lru_cache(maxsize=256)
def _dataset(name: str, config: str) -> Any:
    return create_dataset(name, **json.loads(config))


def _parse_checked(expression: Any, *arguments: Any, **options: Any) -> Any:
    return parse_expr(checked(expression), *arguments, **options)


def _guard() -> None:
    """A module's global hides the builtin, or the function that it imported. sympy's own uses stay as they are."""
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] == "reasoning_gym"]:
        setattr(module, "eval", literal)  # noqa: B010
        if getattr(module, "parse_expr", None) is parse_expr:
            setattr(module, "parse_expr", _parse_checked)  # noqa: B010
    setattr(sympy, "parse_expr", _parse_checked)  # noqa: B010


_guard()
