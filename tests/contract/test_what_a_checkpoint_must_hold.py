"""Each piece of state, forgotten: the resumed run is then another one, and the comparison says so.

``test_every_option_resumes`` finds nothing different where everything is restored. That means something only if it
finds a difference where one piece is not, so here each piece in turn is put back to what a new run has.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rrl import build, checkpoint
from rrl.build import House
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.saver import ROOMS, Saver, first_progress, progress_from
from tests.contract.bench import Bench
from tests.contract.options import SMALL, composed, options
from tests.contract.test_every_option_resumes import recorded
from tests.contract.test_every_option_trains import REPLAYING, train_until
from tests.sameness import differing, state_of, timeless

STOP, LAST = 7, 8  # one step: what is forgotten may be made good later, and the comparison asks from every step on
# Trained enough to solve easy problems; a store so small that states are evicted and sleep; a reference that counts.
SOLVING = ("warm_start.steps=250", "warm_start.batch=64", "run.warm_up.batches=2", "run.starts_per_step=24")
HOUSE = (*SOLVING, REPLAYING, "run.token_budget=4000", "replay.store.capacity=30", "replay.store.dead_after=1",
         "replay.store.nap_steps=1", "learner.kl_coef=0.1")  # fmt: skip

NEVER_LIVE = {
    "replay/alarms/rang": "an alarm needs 50 conversions; unit/replay/test_alarm",
    "replay/heard": "a person's decisions; unit/replay/test_rejudge",
    "replay/schedule": "constant; other schedules below",
    "replay/selection": "thompson; other selections below",
    "replay/store/shelf/columns/status": "KEEP is 0; nothing is quarantined here; unit/replay",
    "replay/store/problems/columns/parked": "no problem is mastered in eight steps; unit/replay",
    "replay/store/shelf/columns/value_std": "a single critic gives none",
    "replay/store/shelf/columns/fails_in_a_row": "with dead_after=1 each failure is a nap, which begins anew at 0",
    "replay/store/shelf/columns/parent_reward": "all that is stored here was cut from attempts of score 0",
    "recall": "none; other recalls below",
}
WITHOUT_EFFECT = {
    "replay/spelling": "what the store is refused by, see unit/replay/test_spelling",
    "progress/token_budget": "the config's, which may be raised",
    "progress/history_len": "a constant",
    "progress/seconds": "decides nothing and is not compared; unit/saver",
    "progress/peak/new_solves": "a running maximum, which this last step reaches again",
    "replay/store/step": "each step writes it; only inspection reads it",
    "replay/store/last_evicted_problem": "each eviction writes it; where the round-robin goes on, unit/replay",
}


class Unbroken:
    """A run to LAST, its checkpoint at STOP, and how to go on from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        small = [f"{key}={value}" for key, value in SMALL.items() if key.split(".")[0] != "warm_start"]
        self._changes = [*small, f"warm_start.cache_dir={folder / 'warm_start'}", *HOUSE]
        house, told = recorded(self.house())
        house.run.keep_checkpoints = 100
        end = train_until(house, LAST, first_progress(house.run), Saver(house, folder / "run", {}))
        self.expected, self.records = state_of(house, end), [timeless(m) for m in told.metrics][-(LAST - STOP) :]
        self.state = checkpoint.load(folder / "run" / "checkpoints" / f"step_{STOP:06d}")[0]
        new = self.house()
        self.fresh = state_of(new, first_progress(new.run))

    def house(self, *changes: str) -> House:
        cfg = composed(*self._changes, *changes)
        build.validate(cfg, Ranks())
        (self.folder / "again").mkdir(exist_ok=True)
        return build.build(cfg, self.folder / "again", Ranks())

    def red(self, state: dict[str, Any], house: House | None = None, *, rooms: tuple[str, ...] = ROOMS) -> list[str]:
        """What differs from the unbroken run where it goes on with ``state``; an error at the door counts."""
        again, told = recorded(house or self.house())
        try:
            for room in rooms:
                getattr(again, room).load_state_dict(copy.deepcopy(state[room]))
            progress = progress_from(copy.deepcopy(state["progress"]))
            end = train_until(again, LAST, dataclasses.replace(progress, token_budget=again.run.token_budget))
        except (Exception, pytest.fail.Exception) as refusal:  # noqa: BLE001  (however it shows, also as an early end)
            return [f"{type(refusal).__name__}: {refusal}"]
        found = differing(self.expected, state_of(again, end))
        return found + differing(self.records, [timeless(m) for m in told.metrics])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return Unbroken(tmp_path_factory.mktemp("unbroken"))


def test_with_everything_restored_nothing_differs_whatever_the_global_generators_say(unbroken: Unbroken) -> None:
    house = unbroken.house()
    torch.manual_seed(987)
    random.seed(987)
    np.random.seed(987)  # noqa: NPY002  (the one that nobody may use)
    assert unbroken.red(unbroken.state, house) == []


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "recall"])
def test_a_room_that_restores_nothing_is_seen(unbroken: Unbroken, room: str) -> None:
    assert unbroken.red(unbroken.state, rooms=tuple(r for r in ROOMS if r != room))


@pytest.mark.parametrize(
    ("name", "value"),
    [("step", STOP - 1), ("sampled_tokens", 0), ("history", ()), ("first", None), ("peak", None)],
)
def test_progress_that_is_forgotten_is_seen(unbroken: Unbroken, name: str, value: Any) -> None:
    # step: the data order and every random stream. sampled_tokens: learning rates and schedules, and when it ends.
    assert unbroken.red(unbroken.state | {"progress": unbroken.state["progress"] | {name: value}})


def test_another_seed_is_seen(unbroken: Unbroken) -> None:
    assert unbroken.red(unbroken.state, unbroken.house("seed=1"))


def test_the_reference_is_made_again_and_another_one_is_seen(unbroken: Unbroken) -> None:
    house = unbroken.house(f"warm_start.cache_dir={unbroken.folder / 'nothing_is_kept_here'}")  # trained once more
    assert unbroken.red(unbroken.state, house) == []
    other = unbroken.house()
    for weight in other.learner._reference.parameters():
        weight.data.mul_(1.01)
    assert unbroken.red(unbroken.state, other)


def test_a_tracker_that_is_not_told_where_the_run_goes_on_tells_steps_twice(unbroken: Unbroken, tmp_path: Path) -> None:
    def steps() -> list[int]:
        return [json.loads(line)["progress/step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]

    def tell(resumed_at: Progress | None) -> None:
        tracker = build.make(composed("tracker=[jsonl]").tracker.jsonl, "tracker.jsonl", output_dir=tmp_path)
        if resumed_at is not None:
            tracker.resume_at(resumed_at.step)
        for step in range(1 if resumed_at is None else resumed_at.step + 1, 5):
            tracker.log(Progress(**progress(step)), {})
        tracker.close("finished")

    def progress(step: int) -> dict[str, Any]:
        return {"step": step, "sampled_tokens": step, "token_budget": 9, "history": (), "first": None, "peak": None}

    tell(None)
    tell(Progress(**progress(2)))
    assert steps() == [1, 2, 3, 4]
    tracker = build.make(composed("tracker=[jsonl]").tracker.jsonl, "tracker.jsonl", output_dir=tmp_path)
    tracker._resumed = True  # what it would be without the cut
    tracker.log(Progress(**progress(3)), {})
    tracker.close("finished")
    assert steps() == [1, 2, 3, 4, 3]


@pytest.mark.slow
def test_every_piece_of_a_checkpoint_is_missed_if_it_is_forgotten(unbroken: Unbroken) -> None:
    unseen, never_live, without_effect = [], [], []
    for path, node in pieces(unbroken.state):
        name = "/".join(path)
        lost = forgotten(node)
        if not differing(node, lost):
            never_live.append(name)
        elif not unbroken.red(replaced(unbroken.state, path, lost)):
            (without_effect if name in WITHOUT_EFFECT else unseen).append(name)
    assert not unseen, unseen
    assert set(never_live) <= set(NEVER_LIVE), sorted(set(never_live) - set(NEVER_LIVE))


# Off for the eight steps of a test; forgotten in unit/replay/test_menu_schedule.
BEGUN_LATER = {("replay/schedule", "delayed"), ("replay/schedule", "entropy_trigger")}
STATEFUL = {"value": ("value",), "recall": ("recall",), "replay/schedule": ("replay", "schedule"),
            "replay/selection": ("replay", "selection"), "task": ("task",)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "option"), [(g, o) for g in STATEFUL for o in options(g) if (g, o) not in BEGUN_LATER],
)
def test_an_option_whose_state_is_forgotten_is_seen(bench: Bench, group: str, option: str) -> None:
    solving = () if group == "task" or (group, option) == ("value", "self_eval") else SOLVING
    changes = (*solving, *(() if group == "replay/schedule" else (REPLAYING,)), "run.token_budget=200000")
    house, told = recorded(bench.new_house(group, option, *changes))
    house.run.keep_checkpoints, folder = 100, bench.new_folder()
    end = train_until(house, LAST, first_progress(house.run), Saver(house, folder, {}))
    expected, records = state_of(house, end), [timeless(m) for m in told.metrics][-(LAST - STOP) :]
    state = checkpoint.load(folder / "checkpoints" / f"step_{STOP:06d}")[0]
    again, retold = recorded(bench.new_house(group, option, *changes))
    fresh, path = state_of(again, first_progress(again.run)), STATEFUL[group]
    if not at(state, path):
        pytest.skip("it has no state")
    assert differing(at(state, path), at(fresh, path)), "its state is never another one in this run"
    # The bar of a relative task is measured anew where it is forgotten, to the bit: it must be another one to be seen.
    mutant = replaced(state, path, nudged(at(state, path)) if group == "task" else at(fresh, path))
    for room in (*ROOMS, *(["task"] if "task" in state else [])):
        getattr(again, room).load_state_dict(copy.deepcopy(mutant[room]))
    end = train_until(again, LAST, progress_from(mutant["progress"]))
    assert differing(expected, state_of(again, end)) + differing(records, [timeless(m) for m in retold.metrics])


# ------------------------------------------------------------------------------------------ pieces of a state


def pieces(state: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything with a name of its own: dicts whose keys are names of the program, not of problems or prefixes."""
    for key, node in state.items():
        here = (*path, key)
        named_by_data = here[:2] == ("exploration", "wins") and len(here) == 3 or (
            here[:3] == ("replay", "store", "problems") and len(here) == 4 and key != "columns"
        )
        whole = here in (("policy",), ("recall",), ("exploration", "turned", "turns")) or named_by_data
        if whole or not isinstance(node, dict) or not node:
            yield here, node
        else:
            yield from pieces(node, here)


def forgotten(node: Any) -> Any:
    """Zeros where there are numbers, nothing where there are names."""
    if isinstance(node, torch.Tensor):
        return torch.zeros_like(node)
    if isinstance(node, np.ndarray):
        return np.zeros_like(node)
    if isinstance(node, (list, tuple)):
        return [forgotten(x) for x in node] if _of_numbers(node) else type(node)()
    if isinstance(node, dict):
        return {k: forgotten(v) for k, v in node.items()} if _of_numbers(node.values()) else {}
    return None if node is None else type(node)()


def _of_numbers(nodes: Any) -> bool:
    return bool(nodes) and all(isinstance(x, (torch.Tensor, np.ndarray, float)) for x in nodes)


def nudged(node: Any) -> Any:
    """Every number with a fraction and one."""
    if isinstance(node, dict):
        return {key: nudged(value) for key, value in node.items()}
    return node + 1.0 if isinstance(node, float) else node


def at(state: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        state = state.get(key, {})
    return state


def replaced(state: Any, path: tuple[str, ...], node: Any) -> Any:
    if not path:
        return node
    return state | {path[0]: replaced(state[path[0]], path[1:], node)}
