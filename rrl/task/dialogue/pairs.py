"""Preference pairs and prompts in the form of HH-RLHF, from files and the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rrl.scorer.conversation import Exchange, Scorer, prompt_of, split, turns_of
from rrl.task.data.row import Bad, Row, Table
from rrl.task.data.sources import records


class Pair(NamedTuple):
    """kind: of the prompt ("harmless", "helpful", ...).  prompt: a transcript up to where the answer goes.
    chosen, rejected: two answers, the better one first; both None where the row is a prompt alone."""

    kind: str
    prompt: str
    chosen: str | None
    rejected: str | None


class Pairs:
    """Rows with ``chosen`` and ``rejected`` transcripts, or with a ``prompt`` alone (a transcript or one message).

    The prompt is everything up to the last assistant's turn, of both transcripts; a row whose two differ there compares
    answers to two questions and is bad.

    Args:
      train, heldout: kind -> sources (``rrl.task.data.sources``). The kind says by what a response is measured.
    """

    def __init__(self, *, train: dict[str, tuple[str, ...]], heldout: dict[str, tuple[str, ...]]) -> None:
        for key, given in (("train", train), ("heldout", heldout)):
            if not given or not all(given.values()):
                raise ValueError(f"task.data.{key} is {given}; expected a kind of prompt with at least one source, "
                                 "e.g. {helpful: [mine.jsonl]}")
        self._train, self._heldout = train, heldout

    def read(self, *, seed: int, num_train: int, num_heldout: int) -> tuple[Table, Table]:
        """See ``Data``. ``Row.entry`` holds the ``Pair``; there is no gold answer."""
        del seed, num_train, num_heldout  # tables give all they have; the task takes of it
        return _table(self._train, "task.data.train"), _table(self._heldout, "task.data.heldout")


def pairs_of(sources: Mapping[str, Sequence[str]], key: str) -> list[Pair]:
    """All good pairs that have both answers, repeated prompts too: what a reward model learns from."""
    read = (found for _, found in _read(sources, key) if isinstance(found, Pair))
    return [pair for pair in read if pair.chosen is not None and pair.rejected is not None]


def ranked_right(scorer: Scorer, pairs: Sequence[Pair]) -> np.ndarray:
    """[P] whether the chosen answer of each pair, which has both, beats the rejected one; a tie does not."""
    better, worse = (scorer([Exchange(p.prompt, text or "") for p, text in zip(pairs, texts, strict=True)])
                     for texts in ([p.chosen for p in pairs], [p.rejected for p in pairs]))  # fmt: skip
    return np.asarray(better > worse)


def pair_of(content: Mapping[str, Any], kind: str) -> Pair | str:
    """A record's pair, or why it cannot be used."""
    given = {name: content.get(name) for name in ("chosen", "rejected", "prompt")}
    if bad := [n for n, text in given.items() if text is not None and not isinstance(text, str)]:
        return f"has a {type(given[bad[0]]).__name__} in {bad[0]!r}; expected text"
    chosen, rejected, prompt = (given[name] for name in ("chosen", "rejected", "prompt"))
    try:
        if chosen is None and rejected is None and prompt is not None:
            asked = prompt_of(prompt)
            turns_of(asked)
            return Pair(kind, asked, None, None)
        if chosen is None or rejected is None:
            return f"has neither chosen and rejected nor a prompt; it has: {', '.join(map(str, content)) or '-'}"
        better, worse = split(chosen), split(rejected)
        turns_of(better.prompt)
    except ValueError as error:
        return str(error)
    if better.prompt != worse.prompt:
        return "has chosen and rejected answers to different prompts"
    if not better.response or not worse.response or better.response == worse.response:
        return "has an empty answer, or the same one twice"
    return Pair(kind, better.prompt, better.response, worse.response)


def _table(sources: Mapping[str, Sequence[str]], key: str) -> Table:
    table = Table(rows=[], bad=[])
    for where, found in _read(sources, key):
        if isinstance(found, str):
            table.bad.append(Bad(where=where, why=found))
        else:
            table.rows.append(Row(
                where=where, prompt=found.prompt, answer="", solution=None, hard=True, entry={"pair": found},
            ))  # fmt: skip
    return table


def _read(sources: Mapping[str, Sequence[str]], key: str) -> Iterator[tuple[str, Pair | str]]:
    for kind, names in sources.items():
        for source in names:
            for where, content in records(source, f"{key}.{kind}"):
                yield where, content if isinstance(content, str) else pair_of(content, kind)
