"""Rows of trajectories that others saved: JSONL of prompt, completion and reward, or prime-rl's rollout files.

A line is an object with ``reward`` and with ``prompt`` and ``completion``, each a text, a list of chat messages or a
list of token ids; ``step`` is optional. prime-rl writes ``<run>/rollouts/step_<N>/train_rollouts.jsonl``: there N is
the step, and where a line has ``trajectory[0].tokens`` its ids are taken, which are exact.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrl.hosts.task import HostCodec
from rrl.reading import json_of
from rrl.types import Tokens

_STEP = re.compile(r"step_(\d+)$")
_HALF = re.compile("[\ud800-\udfff]")
_MOST = 2**53  # of rewards and steps: what float64 holds exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One saved row. where: file and line, for messages.  step: of the run that wrote it; 0 where it does not say."""

    where: str
    prompt: Tokens
    completion: Tokens
    reward: float
    step: int


def read(paths: Sequence[Path], codec: HostCodec) -> Iterator[Trajectory]:
    """The rows of files, and of all rollout files below folders, in that order.

    Raises:
      ValueError: a path holds no such file, or a line is bad: one error, with file and line.
    """
    for path in paths:
        for file in _files(path):
            found = _STEP.search(file.parent.name)
            with open(file, encoding="utf-8", errors="surrogateescape") as lines:  # bytes that are none: a bad line
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _row(line, f"{file}:{number}", int(found[1]) if found else 0, codec)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(path.rglob("train_rollouts.jsonl"), key=lambda p: (len(p.parent.name), p.parent.name))
    if not found:
        raise ValueError(f"{str(path)!r} is no file and has no train_rollouts.jsonl below it; expected JSONL of "
                         "prompt, completion, reward, or the folder of a prime-rl run")
    return found


def _row(line: str, where: str, step: int, codec: HostCodec) -> Trajectory:
    try:
        said = json_of(line)
    except ValueError as error:
        raise ValueError(f"{where}: this is no JSON ({error}); expected one object a line") from error
    if not isinstance(said, dict):
        raise ValueError(f"{where}: a {type(said).__name__}; expected an object with prompt, completion and reward")
    reward = said.get("reward")
    if isinstance(reward, bool) or not isinstance(reward, (int, float)) or not abs(reward) < _MOST:
        raise ValueError(f"{where}: reward is {_short(reward)}; expected a finite number")
    step = said.get("step", step)
    if type(step) is not int or not 0 <= step < _MOST:
        raise ValueError(f"{where}: step is {_short(step)}; expected an integer >= 0")
    prompt, completion = _exact(said, where) or (
        _prompt(said.get("prompt"), where, codec), _completion(said.get("completion"), where, codec))
    if not prompt or not completion:
        raise ValueError(f"{where}: {'completion' if prompt else 'prompt'} has no token; expected at least one")
    return Trajectory(where=where, prompt=prompt, completion=completion, reward=float(reward), step=step)


def _exact(said: dict[str, Any], where: str) -> tuple[Tokens, Tokens] | None:
    """Ids of a single-turn trajectory as verifiers record them; None where there are none."""
    turns = said.get("trajectory") or []
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError(f"{where}: trajectory is {_short(turns)}; expected a list of one turn")
    if len(turns) > 1:
        raise ValueError(f"{where}: a trajectory of {len(turns)} turns; expected one: a prefix is of one response")
    tokens = turns[0].get("tokens") if turns else None
    if not tokens:
        return None
    if not (isinstance(tokens, dict) and _ids(tokens.get("prompt_ids")) and _ids(tokens.get("completion_ids"))):
        raise ValueError(f"{where}: trajectory[0].tokens lacks prompt_ids or completion_ids; expected lists of ids")
    return tuple(tokens["prompt_ids"]), tuple(tokens["completion_ids"])


def _prompt(said: Any, where: str, codec: HostCodec) -> Tokens:
    if _text(said):
        return codec.encode(said)
    if _messages(said):
        turns = [(m["role"], m["content"]) for m in said]
        return codec.conversation("\n\n".join(content for _, content in turns), turns)
    if _ids(said):
        return tuple(said)
    raise ValueError(f"{where}: prompt is {_short(said)}; expected a text, chat messages or token ids")


def _completion(said: Any, where: str, codec: HostCodec) -> Tokens:
    """Texts are taken as ended, so the stop token is put behind them; ids are taken as they are."""
    if _messages(said):
        if len(said) > 1:
            raise ValueError(f"{where}: completion has {len(said)} messages; expected one: a prefix is of one response")
        said = said[0]["content"]
    if _text(said):
        return codec.encode(said) + codec.stop[:1] if said else ()
    if _ids(said):
        return tuple(said)
    raise ValueError(f"{where}: completion is {_short(said)}; expected a text, chat messages or token ids")


def _messages(said: Any) -> bool:
    return isinstance(said, list) and bool(said) and all(
        isinstance(m, dict) and _text(m.get("role")) and _text(m.get("content")) for m in said)


def _text(said: Any) -> bool:
    """Whether it is whole Unicode text: JSON can spell half a character, which no tokenizer takes."""
    return isinstance(said, str) and not _HALF.search(said)


def _ids(said: Any) -> bool:
    return isinstance(said, list) and bool(said) and all(type(t) is int and 0 <= t < 2**31 for t in said)


def _short(said: Any) -> str:
    text = json.dumps(said)
    return text if len(text) <= 60 else text[:57] + "..."
