"""Between the statements of Python code, as Python itself parses them."""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left
from typing import Literal

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.code_line import code_blocks
from rrl.replay.cut.text import cut_text

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # as Python counts them; str.splitlines knows more breaks
_BRANCHES = (ast.If, ast.For, ast.While, ast.AsyncFor, ast.Match, ast.Try)


class AstCut:
    """Behind each complete statement, nested ones too, at the beginning of the next line that is not blank.

    ``before: conditional`` keeps the boundaries that stand directly before an if, for, while, match or try, and adds
    those before one that begins a block: StepCoder's cuts (Dou et al., 2024, arXiv 2402.01391). With fences (```) only
    what stands inside them is code; without any, all text is.

    Code that does not parse (it is not finished, or wrong, or not Python) is read up to its longest beginning of whole
    lines that does, and has no boundary behind that; where nothing parses there is none. So every boundary that is
    given stands behind statements that Python accepts.

    Args:
        task: decodes.
        before: "statement" (any, or the end of the block) or "conditional".
        apart: least sampled tokens between boundaries, and before the first one, >= 1.
    """

    def __init__(self, *, task: Task, before: Literal["statement", "conditional"], apart: int) -> None:
        if apart < 1:
            raise ValueError(f"replay.cut.apart is {apart}; expected >= 1")
        self._task, self._apart, self._conditional = task, apart, before == "conditional"

    def boundaries(self, attempt: Attempt) -> list[int]:
        return cut_text(self._task.decode, attempt.response, self._gaps, self._apart)

    def _gaps(self, text: str) -> list[tuple[int, int]]:
        gaps = []
        for first, last in code_blocks(text):
            gaps += [(first + a, first + b) for a, b in gaps_of(text[first:last], self._conditional)]
        return gaps


def gaps_of(code: str, conditional: bool) -> list[tuple[int, int]]:
    """Where boundaries may stand, characters. Example: "a\\n\\nb(2,\\n3)\\nc" -> (2, 3), (11, 11), (12, 12)."""
    lines = _LINE.findall(code)
    tree = longest_parse(lines)
    starts, filled = [0], [i for i, line in enumerate(lines) if line.strip()]
    for line in lines:
        starts.append(starts[-1] + len(line))  # [i] character at which line i begins
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    if conditional:
        behind = {node.lineno - 1 for node in statements if isinstance(node, _BRANCHES)}
    else:
        behind = {node.end_lineno or 0 for node in statements}
    # Lines count from 1 in the tree: the last line of a statement is the number of the one behind it. A statement may
    # end on a line on which one of several lines begins.
    behind -= {line for s in statements if not hasattr(s, "body") for line in range(s.lineno, s.end_lineno or 0)}
    gaps = []
    for line in sorted(behind):
        following = bisect_left(filled, line)
        gaps.append((starts[line], starts[filled[following]] if following < len(filled) else starts[-1]))
    return gaps


def longest_parse(lines: list[str]) -> ast.Module:
    """The tree of the longest beginning of whole lines that parses; an empty one where none does.

    Python names the line in which it gave up, and nothing that holds this line parses, so few beginnings are tried.
    """
    num = len(lines)
    while num > 0:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "invalid escape sequence" and the like are the model's own business
                return ast.parse("".join(lines[:num]))
        except SyntaxError as error:
            num = min(num, error.lineno or num) - 1
        except (ValueError, RecursionError, MemoryError):  # null bytes; nested beyond what a parser can hold
            num -= 1
    return ast.Module(body=[], type_ignores=[])
