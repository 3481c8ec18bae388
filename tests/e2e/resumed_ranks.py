"""Runs of two ranks, stopped and resumed on two and on one: what differs, as JSON.

    python -m tests.e2e.resumed_ranks [--one-way] <folder> <house> ...       a house of HOUSES, or <group>=<option>

On two ranks a resumed run is compared with the unbroken one of two ranks to the bit, rank 1's rooms with rank 0's. On
another number of ranks sums are made in another order: there the largest difference of a number is given, and what
differs that is no number with a fraction.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from rrl import build, checkpoint
from rrl.ranks import Ranks
from rrl.saver import ROOMS, Saver, first_progress, restore
from tests.contract.options import composed, overrides_for, random_llama
from tests.contract.test_every_option_trains import REPLAYING, train_until
from tests.faults.ranks import free_port
from tests.sameness import Records, differing, state_of, timeless

LAST, STOPS, ELASTIC_STOP = 5, (-1, 1, 3), 2
# As in tests/contract/test_every_option_resumes: steps 1, 3 and 4 begin in epochs 0, 2 and 3 of 16 problems.
CHANGES = ("run.warm_up.batches=2", "run.starts_per_step=12")
HOUSES: dict[str, Callable[[Path], list[str]]] = {
    "ppo": lambda folder: [],
    "grpo": lambda folder: ["value=group_norm", "run.samples_per_start=4"],
    "float64": lambda folder: ["policy.backbone.dtype=float64"],
    "ensemble": lambda folder: ["value=ensemble"],
    "micro_batches": lambda folder: [
        "learner.micro_batch_tokens=64", "learner.deal=starts", "value.micro_batch_rows=5",
    ],
    "lora": lambda folder: [
        "policy=lora", f"policy.model={random_llama(folder / 'llama')}", "policy.backbone.device=cpu",
    ],
    "mixed": lambda folder: [
        "policy=causal_lm", f"policy.model={random_llama(folder / 'llama')}", "policy.backbone.device=cpu",
        "policy.backbone.mixed_precision=bfloat16",
    ],
}  # fmt: skip


def config_of(house: str, folder: Path) -> DictConfig:
    if house not in HOUSES:
        group, option = house.split("=")
        more = () if group == "replay/schedule" else (REPLAYING,)
        budget = ("run.token_budget=20000",) if option == "vine_mc" else ()
        return composed(*overrides_for(group, option, folder), *more, *CHANGES, *budget)
    return composed(*overrides_for("objective", "ppo_clip", folder), REPLAYING, *HOUSES[house](folder), *CHANGES)


def whole(ranks: Ranks, cfg: DictConfig, folder: Path) -> None:
    """Train to LAST, saving every step; resume at STOPS on as many ranks, and save what was not the same."""
    house, told = _recorded(ranks, cfg, folder)
    house.run.keep_checkpoints = 100
    begin = first_progress(house.run)
    end = train_until(house, LAST, begin, Saver(house, folder, {}))
    expected, records = state_of(house, end), [timeless(m) for m in told.metrics]
    wrong = []
    everyone = ranks.gather([{room: expected[room] for room in ROOMS if room != "replay"}])  # that one is rank 0's
    wrong += [f"rank {rank}{path}" for rank, theirs in enumerate(everyone) for path in differing(everyone[0], theirs)]
    for stop in STOPS:
        again, retold = _recorded(ranks, cfg, folder)
        end_again = train_until(again, LAST, restore(again, folder / "checkpoints" / f"step_{stop:06d}"))
        found = differing(expected, state_of(again, end_again)) if ranks.is_main else []
        found += differing(records[stop - begin.step :], [timeless(m) for m in retold.metrics])
        wrong += [f"resumed at {stop}: {path}" for path in found + ([] if end == end_again else ["progress"])]
    _tell(ranks, folder, wrong, records)


def resumed(ranks: Ranks, cfg: DictConfig, folder: Path, begun: Path) -> None:
    """Go on at ELASTIC_STOP from a run of another number of ranks."""
    house, told = _recorded(ranks, cfg, folder)
    progress = restore(house, begun / "checkpoints" / f"step_{ELASTIC_STOP:06d}")
    train_until(house, LAST, progress, Saver(house, folder, {}))
    _tell(ranks, folder, [], [timeless(m) for m in told.metrics])


def together(size: int, work: Callable[..., None], *arguments: Any) -> None:
    """``work(ranks, *arguments)`` in ``size`` ranks, forked from this process."""
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.environ.update(shared | {"RANK": str(rank)})
            try:
                ranks = Ranks(timeout_s=60)
                work(ranks, *arguments)
                ranks.close()
            except BaseException:  # noqa: BLE001  (this process ends here)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * size, codes


def compared(house: str, folder: Path, *, back: bool = True) -> dict[str, Any]:
    """What differs on two ranks; and from two to one, and ``back``: [largest difference, what else differs]."""
    cfg = config_of(house, folder)
    two, one = folder / "two", folder / "one"
    together(2, whole, cfg, two)
    together(1, resumed, cfg, folder / "two_to_one", two)
    found = {
        "two to two": json.loads((two / "wrong.json").read_text()),
        "two to one": _apart(two, folder / "two_to_one"),
    }
    if back:
        together(1, whole, cfg, one)
        together(2, resumed, cfg, folder / "one_to_two", one)
        found["one to one"] = json.loads((one / "wrong.json").read_text())
        found["one to two"] = _apart(one, folder / "one_to_two")
    return found


def _recorded(ranks: Ranks, cfg: DictConfig, folder: Path) -> tuple[build.House, Records]:
    folder.mkdir(parents=True, exist_ok=True)
    house = build.build(cfg, folder, ranks)
    records = Records(house.tracker)
    return dataclasses.replace(house, tracker=records), records


def _tell(ranks: Ranks, folder: Path, wrong: list[str], records: list[dict[str, float]]) -> None:
    everything = ranks.gather(wrong)
    if ranks.is_main:
        (folder / "wrong.json").write_text(json.dumps(everything))
        (folder / "records.json").write_text(json.dumps(records))


def _apart(left: Path, right: Path) -> tuple[float, list[str]]:
    """Of the last checkpoints and of the records that both have."""
    states = [checkpoint.load(checkpoint.latest(run))[0] for run in (left, right)]
    for state in states:
        state["progress"].pop("seconds")
    told = [json.loads((run / "records.json").read_text()) for run in (left, right)]
    both = min(map(len, told))
    return _distance([states[0], told[0][-both:]], [states[1], told[1][-both:]], "")


def _distance(left: Any, right: Any, path: str) -> tuple[float, list[str]]:
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        parts = [_distance(left[k], right[k], f"{path}/{k}") for k in left]
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        parts = [_distance(a, b, f"{path}/{i}") for i, (a, b) in enumerate(zip(left, right, strict=True))]
    else:
        a, b = (np.asarray(x.float() if isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16 else x)
                for x in (left, right))  # fmt: skip
        if a.dtype.kind == b.dtype.kind == "f" and a.shape == b.shape:
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            return float(np.where(same, 0.0, np.abs(a - b)).max(initial=0.0)), []
        return 0.0, [] if a.shape == b.shape and (a == b).all() else [path]
    return max((x for x, _ in parts), default=0.0), [p for _, paths in parts for p in paths]


def main() -> None:
    torch.set_num_threads(1)
    folder, *houses = [argument for argument in sys.argv[1:] if argument != "--one-way"]
    back = len(houses) + 2 == len(sys.argv)
    for house in houses:
        print(json.dumps({house: compared(house, Path(folder) / re.sub("[/=]", "-", house), back=back)}), flush=True)


if __name__ == "__main__":
    main()
