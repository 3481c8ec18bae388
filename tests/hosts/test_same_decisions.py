"""One stream of (problem, rollout, score) through our loop's Replay and every adapter: the same states come out."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rrl import rng
from rrl.hosts.build import build, built, compose
from rrl.hosts.rows import Row, scored_of
from rrl.hosts.slime import ReplayDataSource
from rrl.hosts.slime import observe as slime_observe
from rrl.hosts.task import PromptBook
from rrl.hosts.trl import Hooks
from rrl.hosts.verl_store import FIELDS, VerlStore
from rrl.records import Progress
from rrl.stages import attempts_of
from rrl.types import Problem, Start
from tests.contract.stream import same
from tests.hosts.fake_slime import Deals
from tests.hosts.words import saved_tokenizer

STEPS, GROUP, NEW, EOS = 12, 4, 8, 4
OVERRIDES = ["replay/schedule=constant", "replay.schedule.rho=0.5", "replay/cut=token", "replay/admission=random_cut"]
PROMPTS = [(2, 30 + i, 17) for i in range(6)]


def continuation(problem: int, step: int, sample: int, prefix: tuple[int, ...]) -> tuple[int, ...]:
    """What "the model" writes: a function of where it is, so that equal states give equal streams."""
    generator = rng.generator(0, "test.hosts", step, problem, sample, len(prefix))
    tokens = generator.integers(5, 40, size=int(generator.integers(1, NEW - len(prefix) + 1))).tolist()
    return tuple(tokens[:-1]) + (EOS,) if len(tokens) > 1 else tuple(tokens)


def score(response: tuple[int, ...]) -> float:
    return {0: 1.0, 1: 0.4}.get(sum(response) % 5, 0.0)


def dealt(step: int) -> list[int]:
    """Which problems a step has: the host's choice."""
    return [(2 * step + k) % len(PROMPTS) for k in range(4)]


def our_loop(folder: Path) -> tuple[list[Any], Any]:
    """Replay as ``rrl.loop`` drives it: rescore, start, estimate, observe, fit."""
    made = built(compose(OVERRIDES), tokenizer=tokenizer_of(folder), output_dir=folder)
    replay, value = made.replay, made.value
    book = PromptBook(stop=(EOS,), max_response=NEW, known={})
    chosen = []
    progress = Progress(step=0, sampled_tokens=0, token_budget=STEPS, history=(), first=None, peak=None)
    for step in range(STEPS):
        replay.rescore(value.success, progress)
        problems = [book.of(PROMPTS[i]) for i in dealt(step)]
        starts = [replay.start(problem, progress) for problem in problems]
        chosen.append([(s.problem.prompt, s.prefix) for s in starts])
        rows = []
        for i, start in zip(dealt(step), starts, strict=True):
            for sample in range(GROUP):
                tokens = continuation(i, step, sample, start.prefix)
                rows.append(Row(start=start, tokens=tokens, score=score(start.prefix + tokens)))
        estimated = value.estimate(scored_of(rows, 1.0))
        replay.observe(attempts_of(estimated), progress)
        value.fit(estimated, progress)
        progress = progress.after(tokens=1, signals=None)
    return chosen, replay.state_dict()


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(saved_tokenizer(folder / "tokenizer"))


def through_trl(folder: Path) -> tuple[list[Any], Any]:
    """``rollout`` and the watched reward of the adapter, called as GRPOTrainer calls them."""
    hooks = Hooks(build([*OVERRIDES, "host.place_answers=false"], tokenizer=tokenizer_of(folder)))
    (reward,) = hooks.watch(lambda prompts, completions, completion_ids, **columns:
                            [score(tuple(ids)) for ids in completion_ids])
    state = types.SimpleNamespace(global_step=0, max_steps=STEPS)

    def generate(contexts: list[list[int]], images: Any, fields: Any, repeats: int) -> tuple[list[list[int]], None]:
        new = []
        for place, context in enumerate(contexts):
            i = PROMPTS.index(tuple(context[:3]))
            new.append(list(continuation(i, state.global_step, place % GROUP, tuple(context[3:]))))
        return new, None

    trainer = types.SimpleNamespace(
        tools=None, environments=None, reward_funcs=[reward], use_vllm=False, eos_token_ids=[EOS], state=state,
        callback_handler=types.SimpleNamespace(callbacks=[hooks.callback]), max_completion_length=NEW,
        num_generations=GROUP, num_generations_eval=GROUP, reward_weights=np.ones(1), _generate_single_turn=generate,
        model=types.SimpleNamespace(training=True, config=types.SimpleNamespace(max_position_embeddings=64)),
        accelerator=types.SimpleNamespace(num_processes=1, process_index=0, unwrap_model=lambda model: model),
        _tokenize_prompts=lambda prompts: ([list(p) for p in prompts], None, {}),
    )  # fmt: skip
    chosen = []
    for step in range(STEPS):
        state.global_step = step
        prompts = [PROMPTS[i] for i in dealt(step) for _ in range(GROUP)]
        out = hooks.rollout(prompts, trainer)
        chosen.append([(p.start.problem.prompt, p.start.prefix) for p in hooks.plans[::GROUP]])
        quiet = {"log_metric": lambda *a: None, "log_extra": lambda *a: None}
        reward(prompts, [""] * len(prompts), out["completion_ids"], **quiet)
    return chosen, hooks.session.state_dict()["replay"]


def through_verl(folder: Path) -> tuple[list[Any], Any]:
    """``pick`` a row at a time and ``observe`` a batch, as agent loops and trainer call them."""
    store = VerlStore([*OVERRIDES, "host.place_answers=false"], str(saved_tokenizer(folder / "tokenizer")),
                      max_response=NEW, num_steps=STEPS, samples_per_prompt=GROUP)
    chosen = []
    for step in range(STEPS):
        batch: dict[str, list[Any]] = {k: [] for k in (*FIELDS, "rrl_answer")}
        picked = []
        for i in dealt(step):
            for sample in range(GROUP):
                prefix, answer = store.pick(PROMPTS[i], step, sample)
                assert answer is None
                new = continuation(i, step, sample, tuple(prefix))
                response = [*prefix, *new]
                batch["prompts"].append(list(PROMPTS[i]))
                batch["responses"].append(response)
                batch["response_mask"].append([0] * len(prefix) + [1] * len(new))
                batch["rm_scores"].append([0.0] * (len(response) - 1) + [score(tuple(response))])
                batch["rrl_answer"].append(False)
            picked.append((PROMPTS[i], tuple(prefix)))
        chosen.append(picked)
        store.observe(batch, step)
    return chosen, store.state()["replay"]


def through_slime(folder: Path) -> tuple[list[Any], Any]:
    """``get_samples``, generation behind partial samples, and the function for all samples."""
    args = types.SimpleNamespace(
        hf_checkpoint=str(saved_tokenizer(folder / "tokenizer")), rollout_max_response_len=NEW, num_rollout=STEPS,
        rrl=[*OVERRIDES, "host.place_answers=false"], reward_key=None, save=str(folder), load=None,
    )  # fmt: skip
    order = [PROMPTS[i] for step in range(STEPS) for i in dealt(step)]
    source = ReplayDataSource(args, inner=Deals([" ".join(f"<{t}>" for t in p) for p in order], GROUP))
    chosen = []
    for step in range(STEPS):
        groups = source.get_samples(4)
        picked = []
        for i, group in zip(dealt(step), groups, strict=True):
            prefix: tuple[int, ...] = ()
            for place, sample in enumerate(group):
                prefix = tuple(sample.tokens[3:])
                sample.go_on(PROMPTS[i], continuation(i, step, place, prefix))
                sample.reward = score(tuple(sample.tokens[3:]))
            picked.append((PROMPTS[i], prefix))
        chosen.append(picked)
        slime_observe(args, groups, source.get_samples)
    return chosen, source.session.state_dict()["replay"]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Any]:
    return our_loop(tmp_path_factory.mktemp("ours"))


@pytest.mark.parametrize("host", [through_trl, through_verl, through_slime])
def test_every_adapter_gives_the_states_that_our_loop_gives(
    ours: tuple[list[Any], Any], host: Callable[[Path], tuple[list[Any], Any]], tmp_path: Path
) -> None:
    chosen, state = host(tmp_path)
    assert sum(bool(prefix) for step in chosen for _, prefix in step) > 10
    assert chosen == ours[0]
    assert same(state, ours[1])


def test_problems_are_named_by_their_prompt_alone() -> None:
    book = PromptBook(stop=(EOS,), max_response=NEW, known={})
    other = PromptBook(stop=(), max_response=3, known={})
    assert book.of([2, 30, 17]).id == other.of((2, 30, 17)).id != book.of([2, 31, 17]).id
    known = Problem(id="mine", prompt=(2, 30, 17), answer="", solution=(), task="t", difficulty="", max_response=2,
                    stop=(), exact_length=False)
    assert PromptBook(stop=(), max_response=9, known={(2, 30, 17): known}).of([2, 30, 17]) is known
    assert Start(problem=known).room == 2
