"""verl on a CPU: the agent loop with a stub server, fields through a real TransferQueue, the store as a real Ray actor.

A whole training step needs a GPU and is not run. Where verl, Ray or
TransferQueue is absent these tests are skipped: pip install 'rrl[verl]' in an environment of its own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="verl's adapter: pip install 'rrl[verl]'")
tq = pytest.importorskip("transfer_queue", reason="verl's adapter: pip install 'rrl[verl]'")
pytest.importorskip("verl.trainer.ppo.v1.trainer_sync", reason="verl's adapter: pip install 'rrl[verl]'")

from tests.contract.stream import same  # noqa: E402
from tests.hosts.words import saved_tokenizer, words  # noqa: E402

pytestmark = pytest.mark.slow
OVERRIDES = ["replay/schedule=constant", "replay.schedule.rho=1.0", "replay/cut=token", "replay.max_replay_frac=1.0",
             "replay/admission=first_boundary"]
GROUP, NEW, EOS = 4, 6, 4
TEMPLATE = "<2> {{ messages[0]['content'] }} <9>"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from omegaconf import OmegaConf

    folder = tmp_path_factory.mktemp("verl")
    tokenizer = words()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "model")
    return OmegaConf.create({
        "actor_rollout_ref": {"model": {"path": str(folder / "model")},
                              "rollout": {"n": GROUP, "prompt_length": 8, "response_length": NEW}},
        "data": {"max_response_length": NEW, "continuous_token": {"enable": False}},
        "trainer": {"default_local_dir": str(folder)}, "rrl": {"overrides": OVERRIDES},
    })  # fmt: skip


@pytest.fixture(scope="module")
def store(config: Any) -> Any:
    import ray

    from rrl.hosts.verl import setup, store_of

    ray.init(num_cpus=8, include_dashboard=False, runtime_env={"worker_process_setup_hook": "rrl.hosts.verl.setup"})
    setup()
    yield store_of(config, 10)
    ray.shutdown()


class StubServer:
    """Answers every request with two tokens and the stop token, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    async def generate(self, *, prompt_ids: list[int], **rest: Any) -> Any:
        from verl.workers.rollout.replica import TokenOutput

        self.asked.append(list(prompt_ids))
        return TokenOutput(token_ids=[11, 12, EOS], log_probs=None, num_preempted=0)


def row_of(config: Any, server: StubServer, *, step: int, sample: int, split: str = "train") -> Any:
    """One row through the agent loop, as an agent loop worker makes and runs it."""
    from transformers import AutoTokenizer
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    from rrl.hosts.verl import RRLAgentLoop

    async def run() -> Any:
        loop = RRLAgentLoop(
            DictConfigWrap(config), server, AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path), None,
            RLHFDataset, DictConfigWrap(config.data),
        )
        return await loop.run({"temperature": 1.0}, raw_prompt=[{"role": "user", "content": "<30> <17>"}],
                              extra_info={"split": split, "index": 0}, global_steps=step, session_id=sample, uid="u")

    return asyncio.run(run())


PROMPT = [2, 30, 17, 9]


def batch_of(rows: list[Any], scores: list[float]) -> dict[str, Any]:
    return {
        "prompts": [r.prompt_ids for r in rows], "responses": [r.response_ids for r in rows],
        "response_mask": [r.response_mask for r in rows],
        "rm_scores": [[0.0] * (len(r.response_ids) - 1) + [s] for r, s in zip(rows, scores, strict=True)],
        "rrl_answer": [r.extra_fields["rrl_answer"] for r in rows],
    }  # fmt: skip


def test_rows_begin_fresh_then_behind_one_prefix_and_validation_stays_fresh(config: Any, store: Any) -> None:
    import ray

    server = StubServer()
    fresh = [row_of(config, server, step=1, sample=i) for i in range(GROUP)]
    assert all(r.prompt_ids == PROMPT and r.response_ids == [11, 12, EOS] for r in fresh)
    assert all(r.response_mask == [1, 1, 1] and r.extra_fields["rrl_prefix"] == 0 for r in fresh)
    metrics = ray.get(store.observe.remote(batch_of(fresh, [0.0] * GROUP), 1))
    assert metrics["rrl/replay/store_size"] == 1.0 and metrics["rrl/rollout/solved_fresh"] == 0.0

    replayed = [row_of(config, server, step=2, sample=i) for i in range(GROUP)]
    assert server.asked[-1] == [*PROMPT, 11]  # the server goes on behind the prefix
    for r in replayed:
        assert r.prompt_ids == PROMPT and r.response_ids == [11, 11, 12, EOS]
        assert r.response_mask == [0, 1, 1, 1]
    validated = row_of(config, server, step=2, sample=0, split="test")
    assert server.asked[-1] == PROMPT and validated.response_ids == [11, 12, EOS]

    metrics = ray.get(store.observe.remote(batch_of(replayed, [1.0, 0.0, 0.0, 0.0]), 2))
    assert metrics["rrl/replay/fraction"] == 1.0 and metrics["rrl/replay/conversion"] == 0.25


def test_fields_pass_through_a_real_transfer_queue_and_give_the_rows_that_were_put(config: Any, store: Any) -> None:
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    from rrl.hosts.verl import batch_of as plain
    from rrl.hosts.verl_store import FIELDS

    server = StubServer()
    rows = [row_of(config, server, step=3, sample=i) for i in range(GROUP)]
    tq.init()
    fields = [r.model_copy(update={"reward_score": 0.5}).as_dict() | {"values": plain_values(r)} for r in rows]
    keys = [f"u_{i}_0" for i in range(GROUP)]
    tq.kv_batch_put(keys=keys, fields=list_of_dict_to_tensordict(fields), tags=[{"status": "success"}] * GROUP,
                    partition_id="train")
    data = tq.kv_batch_get(keys=keys, partition_id="train", select_fields=[*FIELDS, "extra_fields", "values"])
    told = plain(data, critic=True)
    expected = batch_of(rows, [0.5] * GROUP)
    assert {k: told[k] for k in expected} == expected
    assert told["values"] == [[0.25] * len(r.response_ids) for r in rows]


def plain_values(row: Any) -> Any:
    import torch

    return torch.full((len(row.response_ids),), 0.25)


def test_a_converted_answer_stands_in_the_last_row_of_a_bare_group(tmp_path: Path) -> None:
    from rrl.hosts.verl_store import VerlStore

    made = VerlStore([*OVERRIDES, "replay/problem_weight=all_failed"], str(saved_tokenizer(tmp_path / "t")),
                     max_response=NEW, num_steps=10, samples_per_prompt=2)
    rows = {"prompts": [PROMPT] * 2, "responses": [[11, 12, EOS]] * 2, "response_mask": [[1, 1, 1]] * 2,
            "rm_scores": [[0.0, 0.0, 0.0]] * 2, "rrl_answer": [False] * 2}  # fmt: skip
    made.observe(rows, 0)
    prefix, _ = made.pick(PROMPT, 1, 0)
    assert prefix == [11]
    made.observe(rows | {"responses": [[11, 13, EOS]] * 2, "response_mask": [[0, 1, 1]] * 2,
                         "rm_scores": [[0.0, 0.0, 1.0]] * 2}, 1)  # fmt: skip
    bare = VerlStore([*OVERRIDES, "replay.schedule.rho=0.0", "replay/problem_weight=all_failed"],
                     str(tmp_path / "t"), max_response=NEW, num_steps=10, samples_per_prompt=2)
    bare.session.load_state_dict(made.state())
    assert bare.pick(PROMPT, 2, 0) == ([], None)
    assert bare.pick(PROMPT, 2, 1) == ([], [11, 13, EOS])


def test_the_store_is_saved_and_loaded_as_one_folder(config: Any, store: Any, tmp_path: Path) -> None:
    import ray

    from rrl.hosts.verl import checkpoint_folder
    from rrl.hosts.verl_store import VerlStore

    folder = checkpoint_folder(config, 7)
    ray.get(store.save.remote(folder))
    again = VerlStore(OVERRIDES, str(config.actor_rollout_ref.model.path), max_response=NEW, num_steps=10,
                      samples_per_prompt=GROUP)
    again.load(folder)
    assert same(again.state(), ray.get(store.state.remote()))
    assert again.pick(PROMPT, 8, 0) == ray.get(store.pick.remote(PROMPT, 8, 0))


def test_the_trainer_is_registered_in_every_worker_and_keeps_verls_synchronous_buffer(store: Any) -> None:
    import ray

    @ray.remote
    def registered() -> str:
        from verl.trainer.ppo.v1.trainer_base import get_trainer_cls

        return get_trainer_cls("rrl").__name__

    assert ray.get(registered.remote()) == "RRLTrainer"
    from verl.trainer.ppo.v1.trainer_base import get_trainer_cls
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    own = get_trainer_cls("rrl")
    assert issubclass(own, PPOTrainerSync)
    assert {"_compute_advantage", "_save_checkpoint", "_load_checkpoint"} <= set(vars(own))
    for name in ("_compute_advantage", "_save_checkpoint", "_load_checkpoint"):
        assert callable(getattr(PPOTrainerSync, name))  # a release that renames one of them fails here
