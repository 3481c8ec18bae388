"""rrl-eval as it is typed: killed and resumed, beside a baseline, of a policy without a checkpoint, on two ranks."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import SMALL, environment, many, script
from tests.text import SAMPLES

RUN = [*SMALL, "run.token_budget=400", "tracker=[jsonl]"]
FEW = ["samples.num_problems=20", "samples.num_samples=4", "samples.shard_problems=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short trainings in ``one`` and ``two``, and a finished evaluation of each, ``of_one`` and ``of_two``."""
    folder = tmp_path_factory.mktemp("runs")
    trained = many(folder, "rrl-train", [[*RUN, "hydra.run.dir=one"], [*RUN, "learner.lr=3e-3", "hydra.run.dir=two"]])
    assert [a.code for a in trained] == [0, 0], trained
    lines = [[f"checkpoint={name}", *FEW, f"hydra.run.dir=of_{name}"] for name in ("one", "two")]
    done = many(folder, "rrl-eval", lines)
    assert [a.code for a in done] == [0, 0], done
    return folder


def samples(folder: Path) -> bytes:
    return (folder / "samples.jsonl").read_bytes()


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "eval.json").read_text())
    return found


def test_an_evaluation_leaves_samples_figures_plots_and_a_page(runs: Path) -> None:
    rows = [json.loads(line) for line in samples(runs / "of_one").splitlines()]
    assert len(rows) == 20 and all(len(r["responses"]) == 4 and r["greedy"] for r in rows)
    told = record(runs / "of_one")
    assert told["status"] == "finished" and told["figures"]["num_problems"] == 20
    solved = sum(x["solved"] for r in rows for x in r["responses"]) / 80
    assert told["figures"]["pass_at_k"]["1"]["value"] == pytest.approx(solved)
    assert list(told["figures"]["pass_at_k"]) == ["1", "2", "4"]
    assert {p.name for p in (runs / "of_one" / "plots").iterdir()} == {"pass_at_k.png", "accuracy_by_difficulty.png"}
    assert (runs / "of_one" / "samples.html").stat().st_size > 10_000


def test_a_killed_evaluation_goes_on_to_the_same_bytes(runs: Path) -> None:
    job = subprocess.Popen(
        [script("rrl-eval"), "checkpoint=one", *FEW, "hydra.run.dir=killed"], cwd=runs, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    log, patience = runs / "killed" / "samples.jsonl", time.monotonic() + 120
    while not (log.is_file() and log.read_bytes().count(b"\n") >= 4):
        assert job.poll() is None and time.monotonic() < patience
        time.sleep(0.001)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    log.write_bytes(log.read_bytes()[:-7])  # as if it had been killed while writing

    again, changed, resumed = many(runs, "rrl-eval", [
        ["checkpoint=one", *FEW, "hydra.run.dir=killed"], ["resume=killed", "samples.num_samples=5"], ["resume=killed"],
    ])  # fmt: skip
    assert again.code == changed.code == 1
    assert "holds an evaluation; go on with it" in again.err and "cannot be given while resuming" in changed.err
    assert resumed.code == 0, resumed.err
    assert samples(runs / "killed") == samples(runs / "of_one")
    assert record(runs / "killed")["figures"] == record(runs / "of_one")["figures"]


def test_a_finished_evaluation_is_compared_later_with_an_evaluation_or_a_run(runs: Path) -> None:
    by_evaluation, by_run, k = many(runs, "rrl-eval", [
        ["resume=of_two", "baseline=of_one"], ["resume=of_two", "baseline=one"], ["resume=of_one", "samples.k=[3]"],
    ])  # fmt: skip
    assert by_evaluation.code == by_run.code == k.code == 0, (by_evaluation.err, by_run.err, k.err)
    assert "win rate" in by_evaluation.out
    assert "next command: rrl-eval resume=of_one baseline=<another evaluation, run or checkpoint>" in k.out
    assert samples(runs / "of_two" / "baseline") == samples(runs / "of_one")  # the same noise, settings and problems
    versus = record(runs / "of_two")["versus"]
    assert versus["num_problems"] == 20 and 0.0 < versus["win_rate"]["value"] < 1.0
    mine, other = (record(runs / name)["figures"]["greedy"]["value"] for name in ("of_two", "of_one"))
    assert versus["differences"]["greedy"]["value"] == pytest.approx(mine - other)
    assert list(record(runs / "of_one")["figures"]["pass_at_k"]) == ["3"]


ALONE = ["policy=tiny", "task=gsm8k", f"task.data.train=[{SAMPLES}/gsm8k_train.jsonl]", "samples.num_samples=2",
         f"task.data.heldout=[{SAMPLES}/gsm8k_heldout.jsonl]", "task.max_response=24", "samples.num_problems=3",
         "policy.backbone.max_positions=640", "hydra.run.dir=alone"]  # fmt: skip

MISTAKES = {
    "nothing": ([], "checkpoint and policy and task are missing; expected checkpoint=<run or checkpoint folder>, or"),
    "folder": (["checkpoint=nowhere"], "checkpoint is 'nowhere'; expected a run folder or a checkpoint folder"),
    "n": (["checkpoint=one", "samples.num_samples=0"], "samples.num_samples is 0; expected >= 1"),
    "k": (["checkpoint=one", "samples.k=[99]"], "samples.k has 99; expected 1..16 (samples.num_samples)"),
    "type": (["checkpoint=one", "samples.num_samples=many"], "samples.num_samples is 'many'; expected an integer"),
    "key": (["checkpoint=one", "samples.typo=1"], "samples has no key 'typo'; expected one of: "),
    "split": (["checkpoint=one", "samples.split=test"], "samples.split is 'test'; expected one of: 'heldout', 'train'"),
    "cold": (["checkpoint=one", "temperature=0"], "temperature is 0; expected a number > 0, or null"),
    "baseline": (["checkpoint=one", *FEW, "baseline=nowhere"], "baseline is 'nowhere'; expected a run folder"),
    "other": (["checkpoint=one", "samples.num_problems=5", "baseline=of_one"], "'of_one' is of other problems"),
    "resume": (["resume=one"], "resume is 'one', where no evaluation has begun"),
}  # fmt: skip


def test_a_policy_alone_is_evaluated_and_mistakes_cost_one_line(runs: Path) -> None:
    own = {name: [] if name == "resume" else [f"hydra.run.dir=mistake_{name}"] for name in MISTAKES}
    lines = [[*arguments, *own[name]] for name, (arguments, _) in MISTAKES.items()]
    alone, *answers = many(runs, "rrl-eval", [ALONE, *lines])
    assert alone.code == 0, alone.err
    assert "3 heldout problems of gsm8k, 2 samples each" in alone.out
    assert record(runs / "alone")["metrics"] == {} and record(runs / "alone")["checkpoint"] is None
    for (name, (_, words)), answer in zip(MISTAKES.items(), answers, strict=True):
        last = answer.err.splitlines()[-1]
        assert answer.code == 1 and "Traceback" not in answer.err + answer.out, (name, answer)
        assert last.startswith("rrl-eval: ") and words in last, (name, answer)


@pytest.mark.slow
def test_two_ranks_write_what_one_writes(runs: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = environment() | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [script("rrl-eval"), "checkpoint=one", *FEW, "hydra.run.dir=ranks"]
    jobs = [subprocess.Popen(command, cwd=runs, env=shared | {"RANK": str(r)}, stdout=subprocess.PIPE, text=True)
            for r in (0, 1)]  # fmt: skip
    outs = [job.communicate(timeout=240)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert samples(runs / "ranks") == samples(runs / "of_one")
    assert "pass@1" in outs[0] and "pass@1" not in outs[1]
