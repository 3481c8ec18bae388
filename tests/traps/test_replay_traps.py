"""Traps of what is stored and who may touch it: false positives, spelling, forgetting, concurrency, harm.

Numbers are those of the table in README.md.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rrl import build
from rrl.ranks import Ranks
from rrl.records import Attempt
from rrl.replay.replay import Replay
from rrl.saver import Saver, first_progress, restore
from rrl.types import Problem, Start, Tokens, sequences_of
from tests.contract.options import composed, overrides_for
from tests.unit.replay.builders import (
    Toy,
    a_problem,
    a_replay,
    add,
    an_attempt,
    option,
    progress_at,
    row_of,
    stored,
)  # fmt: skip

# ------------------------------------------------------------------------------------------ 12: false positives


class Numbers(Toy):
    """Twenty problems whose right answer is the whole solution; a response is spelled by its tokens."""

    def train_problems(self) -> list[Problem]:
        keys = [3 + i % 5 for i in range(20)]
        return [a_problem(f"p{i}", solution=(key, 20, 21, 22), answer=f"{key} 20 21 22", max_response=1000)
                for i, key in enumerate(keys)]


def false_credit(filters: tuple[str, ...]) -> tuple[int, int]:
    """(credited prefixes that no right response begins with, all credited prefixes) of sixty made-up steps.

    One wrong response in ten passes for a right one. Four of five stored openings are wrong ones.
    """
    task = Numbers()
    replay = a_replay(filters=filters, store={"dedup": "exact"}, task=task)
    generator, problems, credited = np.random.default_rng(0), task.train_problems(), list[bool]()
    for step in range(60):
        attempts = [an_attempt(p, (3 + int(generator.integers(5)), 30, 31, 32)) for p in problems]
        for start in replay.draw(progress_at(step), 40):
            right = start.problem.solution[: len(start.prefix)] == start.prefix and generator.random() < 0.5
            tokens = start.problem.solution[len(start.prefix) :] if right else (30, step % 50, 32)
            solved = right or generator.random() < 0.1
            attempts.append(an_attempt(start.problem, tokens, prefix=start.prefix, solved=bool(solved)))
        lessons = replay.lessons(attempts)
        credited += [start.problem.solution[: len(tokens)] != tokens for start, tokens, _ in lessons]
        replay.observe(attempts, progress_at(step))
    return sum(credited), len(credited)


def test_12_one_false_positive_in_ten_is_credited_unless_a_second_verifier_agrees() -> None:
    false, credited = false_credit(("length",))
    assert credited > 100 and false > 0.1 * credited          # the trap is real: wrong openings are being taught
    false, credited = false_credit(("length", "second_verifier"))
    assert credited >= 40 and false <= 0.01 * credited


# ------------------------------------------------------------------------------------------ 15: retokenisation


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder and a house with a byte-level BPE tokenizer, a chat template and a transformers policy."""
    folder = tmp_path_factory.mktemp("spelled")
    return folder, chat_house(folder)


def chat_house(folder: Path, *changes: str) -> Any:
    run = folder / "_".join(["run", *changes]).replace("=", "_")
    run.mkdir()
    cfg = composed(*overrides_for("codec", "hf", folder), *changes)
    return build.build(cfg, run, Ranks())


def test_15_a_thousand_cuts_come_back_as_the_same_ids_where_text_would_not(chatting: Any) -> None:
    _, house = chatting
    generator, problems = np.random.default_rng(0), house.task.train_problems()
    replay = a_replay(task=house.task, filters=(), store={
        "dedup": "exact", "slots_per_problem": 2000, "capacity": 5000})
    kept: dict[str, Tokens] = {}
    for i in range(1000):
        problem = problems[i % len(problems)]
        response = tuple(generator.integers(3, house.task.vocab_size, size=24).tolist())
        t = int(generator.integers(1, 24))
        attempt = an_attempt(problem, response)
        (prefix,) = replay._admission.propose(attempt, [t], None, 0)
        assert add(replay.store, prefix, done=0.0).outcome in ("admitted", "refused_duplicate")
        kept[prefix.key] = response[:t]
    loaded = a_replay(task=house.task, store={"dedup": "exact", "slots_per_problem": 2000, "capacity": 5000})
    loaded.load_state_dict(replay.state_dict())
    starts = loaded.store.starts(loaded.store.shelf.all_rows())
    assert {start.key: start.prefix for start in starts} == kept and len(kept) > 900
    respelled = [house.task.encode(house.task.decode(tokens)) for tokens in kept.values()]
    assert sum(one != tokens for one, tokens in zip(respelled, kept.values(), strict=True)) > 300
    assert all(start.context == start.problem.prompt + start.prefix for start in starts)


def test_15_log_probs_behind_a_cut_are_those_of_the_uncut_response(chatting: Any) -> None:
    _, house = chatting
    generator, problem = np.random.default_rng(1), house.task.train_problems()[0]
    rows, cuts = [], []
    for _ in range(32):
        response = tuple(generator.integers(3, house.task.vocab_size, size=20).tolist())
        cuts.append(int(generator.integers(1, 20)))
        rows.append((response, cuts[-1]))
    whole, _ = house.policy.logprob(sequences_of([(Start(problem=problem), response) for response, _ in rows]))
    behind, _ = house.policy.logprob(
        sequences_of([(Start(problem=problem, prefix=response[:t]), response[t:]) for response, t in rows]))
    expected = torch.cat([part[t:] for part, t in zip(whole.split(20), cuts, strict=True)])
    torch.testing.assert_close(behind, expected, rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------------------ 22: another tokenizer


def test_22_a_checkpoint_is_refused_where_the_template_or_the_tokenizer_is_another(chatting: Any) -> None:
    folder, house = chatting
    progress = first_progress(house.run)
    saver = Saver(house, folder / "saved", {"replay": {}})
    saver.save(progress)
    checkpoint = next((folder / "saved" / "checkpoints").iterdir())
    assert restore(chat_house(folder, "run.starts_per_step=8"), checkpoint) == progress   # equal spelling: goes on
    with pytest.raises(ValueError, match=r"does not fit this run's replay \(its prefixes are spelled"):
        restore(chat_house(folder, "codec.chat_template=none"), checkpoint)


# ------------------------------------------------------------------------------------------ 23: forgetting


def test_23_falling_success_from_the_prompt_behind_rising_success_of_prefixes_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problems = [a_problem(f"p{i}") for i in range(40)]
    replay = a_replay(store={"retire_at": 1.01})
    replay.observe([an_attempt(p, (3, 9)) for p in problems], progress_at(-1), warm_up=True)

    def batch(fresh: float, replayed: float) -> list[Attempt]:
        return [an_attempt(p, (4, 5), solved=i < 40 * fresh) for i, p in enumerate(problems)] + [
            an_attempt(p, (4, 5), prefix=(3,), solved=i < 40 * replayed) for i, p in enumerate(problems)]

    with caplog.at_level(logging.WARNING):
        for step in range(50):
            replay.observe(batch(0.6, 0.3), progress_at(step))
        assert "forgotten" not in caplog.text
        for step in range(50, 70):
            replay.observe(batch(0.2, 0.7), progress_at(step))
    assert caplog.text.count("bare prompts are being forgotten") == 1


# ------------------------------------------------------------------------------------------ 25: concurrency


class Held(BaseManager):
    """A process that holds one replay and serves each client in a thread of its own."""


def held_replay() -> Replay:
    import sys

    sys.setswitchinterval(1e-6)   # threads change as often as they can
    return a_replay(filters=(), store={"dedup": "exact", "slots_per_problem": 64, "capacity": 4000})


Held.register("replay", held_replay)


def worker(replay: Any, number: int, booked: Any) -> None:
    """Draws, attempts and books, with problems of its own and problems of all."""
    tried: Counter[str] = Counter()
    generator = np.random.default_rng(number)
    for step in range(40):
        drawn = replay.draw(progress_at(step), 16)
        names = [f"own{number}-{step}", *(f"all{i}" for i in range(4))]
        fresh = [a_problem(name, max_response=1000) for name in names]
        attempts = [an_attempt(p, (3 + int(generator.integers(8)), step, number), value=(0.5,) * 3) for p in fresh]
        for start in drawn:
            solved = bool(generator.random() < 0.3)
            attempts.append(an_attempt(start.problem, (50, step, number), prefix=start.prefix, solved=solved))
            tried[start.key] += 1
        replay.observe(attempts, progress_at(step))
        replay.rows()
    booked.put(dict(tried))


def check_nothing_lost(replay: Any, tries: list[dict[str, int]]) -> None:
    rows = replay.rows()
    assert len({row["key"] for row in rows}) == len(rows)
    uses = Counter[str]()
    for part in tries:
        uses.update(part)
    assert sum(uses.values()) > 100 and {row["key"]: row["uses"] for row in rows if row["uses"]} == uses
    problems = Counter(row["problem"] for row in rows)
    assert all(problems[f"own{number}-{step}"] >= 1 for number in range(2) for step in range(40))
    twin = a_replay(filters=(), store={"dedup": "exact", "slots_per_problem": 64, "capacity": 4000})
    twin.load_state_dict(replay.state_dict())
    assert twin.rows() == rows   # the indices of what was saved agree with its columns


def test_25_two_threads_that_share_a_replay_lose_and_double_nothing() -> None:
    import queue
    import sys

    before, replay, booked = sys.getswitchinterval(), held_replay(), queue.Queue[dict[str, int]]()
    try:
        workers = [threading.Thread(target=worker, args=(replay, number, booked)) for number in range(2)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
    finally:
        sys.setswitchinterval(before)
    check_nothing_lost(replay, [booked.get_nowait() for _ in workers])


@pytest.mark.slow
def test_25_two_processes_that_share_a_replay_lose_and_double_nothing() -> None:
    context = get_context("spawn")
    with Held(ctx=context) as manager:
        replay, booked = manager.replay(), context.Queue()   # type: ignore[attr-defined]
        workers = [context.Process(target=worker, args=(replay, number, booked)) for number in range(2)]
        for one in workers:
            one.start()
        tries = [booked.get(timeout=120) for _ in workers]
        for one in workers:
            one.join()
        assert [one.exitcode for one in workers] == [0, 0]
        check_nothing_lost(replay, tries)


# ------------------------------------------------------------------------------------------ 26: harm


class Words(Toy):
    """Token i is word i."""

    _WORDS = ["I", "will", "not", "help", "mix", "the", "bomb", "cake", "with", "sugar"]

    def decode(self, tokens: Any) -> str:
        return " ".join(self._WORDS[t % 10] for t in tokens)


@pytest.mark.parametrize("action", ["drop", "quarantine"])
def test_26_flagged_openings_are_never_restarted_from_nor_credited_also_after_a_reload(action: str) -> None:
    room = {"dedup": "exact", "slots_per_problem": 400}   # where it is full, what waits is the first to go

    def guarded() -> Replay:
        replay = a_replay(filters=("length", "harm"), admission="random_cut", task=Words(), store=room)
        replay._filters["harm"] = build.make(
            option("filter", "harm") | {"action": action}, "replay.filter.harm", task=Words())
        return replay

    generator, problems = np.random.default_rng(0), [a_problem(f"p{i}") for i in range(12)]
    replay, drawn, refused = guarded(), list[Start](), 0.0
    for step in range(40):
        if step == 20:   # a run that was stopped, and one that forgot to name its filter
            state = replay.state_dict()
            replay = a_replay(admission="random_cut", task=Words(), store=room)
            replay.load_state_dict(state)
            drawn += replay.draw(progress_at(step), 24)
            replay = guarded()
            replay.load_state_dict(state)
        starts = replay.draw(progress_at(step), 24)
        batch = [an_attempt(p, generator.integers(0, 10, size=6).tolist()) for p in problems]
        batch += [an_attempt(s.problem, (7, 8), prefix=s.prefix, solved=True) for s in starts]
        taught = [tokens for _, tokens, _ in replay.lessons(batch)]
        refused += replay.observe(batch, progress_at(step))["replay/filter_harm"]
        assert not any("bomb" in Words().decode(tokens) for tokens in taught)
        drawn += starts
    assert len(drawn) > 100 and refused > 20
    assert not any("bomb" in Words().decode(start.prefix) for start in drawn)
    held = [tokens for tokens in stored(replay.store) if "bomb" in Words().decode(tokens)]
    assert bool(held) == (action == "quarantine")


def test_26_an_opening_that_is_found_harmful_after_it_was_stored_is_put_away(tmp_path: Path) -> None:
    replay, asked = a_replay(filters=("review",), output_dir=tmp_path, rescore_every=1), a_problem()
    replay.observe([an_attempt(asked, (4, 6)), an_attempt(asked, (7, 8))], progress_at(-1), warm_up=True)
    assert len(replay.draw(progress_at(0), 8)) == 2
    key = Start(problem=asked, prefix=(4,)).key
    (tmp_path / "review.jsonl").write_text(f'{{"key": "{key}", "decision": "rejected"}}')
    replay.observe([], progress_at(0))
    assert [start.prefix for start in replay.draw(progress_at(1), 8)] == [(7,)]
    assert replay.store.shelf.columns["status"][row_of(replay.store, asked, (4,))] == 1
