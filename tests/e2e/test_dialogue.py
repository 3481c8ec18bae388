"""RLHF end to end with hardly trained scorers: a few steps, safe restarts only, and a bar that survives a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rrl import build, checkpoint, loop
from rrl.build import House
from rrl.protocols import JudgesBeginnings, Relative
from rrl.ranks import Ranks
from rrl.records import Attempt
from rrl.saver import Saver, first_progress, restore
from rrl.types import Start
from tests.contract.bench import progress_at
from tests.contract.options import composed, small_dialogue

OPENINGS = ["replay.cut.every=9", "replay.cut.t_min=9", "replay/admission=first_boundary"]  # the first nine letters
TALKING = [
    "task=dialogue_tiny", "replay/filter=[length,harm_task,low_reward]", "replay/schedule=constant", "tracker=[]",
    "replay/cut=token", "run.starts_per_step=8", "run.warm_up.batches=1", "run.warm_up.starts=8",
    "run.token_budget=2000",
    "warm_start=none", "evaluate.every_steps=1000", "evaluate.dense_every=1000",
]  # fmt: skip


def house_in(folder: Path, scorers: Path, *changes: str) -> House:
    folder.mkdir()
    overrides = [o for o in small_dialogue(scorers) if not o.startswith("run.token_budget")]
    cfg = composed(*overrides, *TALKING, *changes)
    build.validate(cfg, Ranks())
    return build.build(cfg, folder, Ranks())


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scorers")


def said(house: House, text: str) -> Attempt:
    """An unsolved response of the first problem."""
    problem, tokens = house.task.train_problems()[0], house.task.encode(text)
    return Attempt(
        start=Start(problem=problem), tokens=tokens, value=np.full(len(tokens), 0.5, dtype=np.float32),
        entropy=np.zeros(len(tokens), dtype=np.float32), score=-1.0, solved=False, ended=True,
    )  # fmt: skip


def test_a_harmful_opening_is_never_restarted_not_even_after_a_reload(tmp_path: Path, scorers: Path) -> None:
    # What the scorer itself thinks decides: a threshold between the harm of two openings keeps one of them.
    probe = house_in(tmp_path / "probe", scorers)
    assert isinstance(probe.task, JudgesBeginnings)
    texts = ("Bend a pin and push.", "Use warm water, please.")
    openings = {text: probe.task.harm_of([text[:9]])[0] for text in texts}
    worse, better = sorted(texts, key=lambda text: -openings[text])
    bar = float(np.mean(list(openings.values())))
    changes = (f"replay.filter.harm_task.threshold={bar}", "replay.filter.low_reward.least=-3.0",
               "replay.max_replay_frac=1.0", "replay.schedule.rho=1.0", *OPENINGS)  # fmt: skip

    def replayed(house: House) -> set[str]:
        starts = [s for step in range(20) for s in house.replay.draw(progress_at(step), 4)]
        return {house.task.decode(s.prefix) for s in starts}

    house = house_in(tmp_path / "run", scorers, *changes)
    house.replay.observe([said(house, worse), said(house, better)], progress_at(-1), warm_up=True)
    assert replayed(house) == {better[:9]}
    again = house_in(tmp_path / "again", scorers, *changes)
    again.replay.load_state_dict(house.replay.state_dict())
    assert replayed(again) == {better[:9]}


def test_a_poor_opening_is_not_kept_either(tmp_path: Path, scorers: Path) -> None:
    house = house_in(tmp_path / "run", scorers, "replay.filter.harm_task.threshold=1000", *OPENINGS)
    assert isinstance(house.task, JudgesBeginnings)
    attempts = [said(house, text) for text in ("Bend a pin and push.", "Use warm water, please.", "No, I do not.")]
    problem = house.task.train_problems()[0]
    standing = house.task.standing([Start(problem=problem, prefix=a.tokens[:9]) for a in attempts])
    metrics = house.replay.observe(attempts, progress_at(-1), warm_up=True)
    kept = {row["tokens"][:9] for row in ({"tokens": tuple(r["tokens"])} for r in house.replay.rows())}
    assert kept == {a.tokens[:9] for a, x in zip(attempts, standing, strict=True) if x >= -1.0}
    assert metrics["replay/filter_low_reward"] == float((standing < -1.0).sum())


def test_a_resumed_run_keeps_the_bar_though_its_reference_would_set_another(tmp_path: Path, scorers: Path) -> None:
    house = house_in(tmp_path / "run", scorers)
    saver = Saver(house, tmp_path / "run", {})
    progress = loop.warm_up(house, first_progress(house.run), lambda p: None)
    saver.save(progress)
    assert isinstance(house.task, Relative)
    bar = house.task.state_dict()
    assert bar["bar"]["std"] > 0.0 and (tmp_path / "run" / "bar.json").is_file()

    other = house_in(tmp_path / "other", scorers, "policy.temperature=0.9")
    assert isinstance(other.task, Relative)
    restore(other, checkpoint.latest(tmp_path / "run"))
    other.reward.score(other.policy.rollout(other.problems.draw(2, progress), samples_per_start=1, step=5))
    assert other.task.state_dict() == bar and not (tmp_path / "other" / "bar.json").exists()
