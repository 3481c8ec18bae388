"""What an environment says inside a response that nobody samples: a demonstration, a solution, a right prefix.

Tasks write these as the policy's own tokens alone. Whoever makes a row or a start of them asks here for the rest, so
that training, exact evaluation and oracles read the very context that sampling would have made.
"""

from __future__ import annotations

from rrl.protocols import Environment
from rrl.types import Problem, Tokens, given


def with_given(task: object, problem: Problem, tokens: Tokens) -> Tokens:
    """``tokens`` with what the environment says after each of them, marked; nothing behind the end of a response.

    Example: an environment that says 9 after every token, three tokens at most: (4, 5) -> (4, -10, 5, -10),
    (4, 5, 6) -> (4, -10, 5, -10, 6).

    Args:
      task: says something where it is an ``Environment``; else ``tokens`` come back as they are.
      tokens: the beginning of a response, sampled tokens only.
    """
    if not isinstance(task, Environment):
        return tokens
    said: Tokens = ()
    for number, token in enumerate(tokens, start=1):
        said = (*said, token)
        if token not in problem.stop and number < problem.max_response:
            said += given(task.observe(problem, said))
    return said
