"""A store filled from trajectories that a finished run saved: they are told as a warm-up of the run to come."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rrl.hosts.build import build
from rrl.hosts.replaying import HostReplay
from rrl.hosts.rows import Row
from rrl.hosts.task import PromptBook
from rrl.hosts.trajectories import read
from rrl.types import Start


def seeded(paths: Sequence[Path], *, tokenizer: Any, overrides: Sequence[str]) -> tuple[HostReplay, dict[str, int]]:
    """(a session that was told all rows, counts of rows, solved rows, prompts and stored states).

    The finished run's steps come before step 0, so that ages count on. Success rates are booked from these rows: a
    prompt that was mostly solved is not stored. ``max_response`` is not known here and taken as twice the longest
    completion; the run that begins with the store brings its own.

    Raises:
      ValueError: there is no row, or a line is bad.
    """
    session = build(overrides, tokenizer=tokenizer)
    found = sorted(read(paths, session.task.codec), key=lambda t: t.step)
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))} has no line; expected JSONL of prompt, completion, reward")
    last = found[-1].step
    room = 2 * max(len(t.completion) for t in found)
    book = PromptBook(stop=session.task.codec.stop, max_response=room, known={})
    prompts = set()
    solved = 0
    for step, trajectories in groupby(found, key=lambda t: t.step):
        rows = []
        for one in trajectories:
            prompts.add(one.prompt)
            rows.append(Row(start=Start(problem=book.of(one.prompt)), tokens=one.completion, score=one.reward))
        solved += sum(row.score >= session.solved_at for row in rows)
        session.observe(rows, step=step - last - 1, num_steps=last + 1)
    return session, {"rows": len(found), "solved": solved, "problems": len(prompts),
                     "states": len(session.replay.rows())}
