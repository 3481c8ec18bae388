"""Generation behind stored prefixes through TRL's own engine, and what is refused before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object

from rrl.types import Start


def check_trainer(trainer: Any, *, functions: Sequence[Any], callback: Any) -> None:
    """Refuse what this adapter cannot do, and a script that forgot one of the three hooks. Raises ValueError."""
    if trainer.tools or trainer.environments is not None:
        raise ValueError("the trainer has tools or an environment, whose loop drops env_mask; expected plain prompts "
                         "with rollout_func=hooks.rollout")
    if list(trainer.reward_funcs) != list(functions):
        raise ValueError("the trainer's reward functions are not those that hooks.watch returned; expected "
                         "reward_funcs=hooks.watch(first, second, ...) with all of them")
    if callback not in trainer.callback_handler.callbacks:
        raise ValueError("the trainer does not have hooks.callback, so replay would not be saved; expected "
                         "callbacks=[hooks.callback]")


def check_contexts(trainer: Any, starts: Iterable[Start]) -> None:
    """Refuse a prefix behind which the model may not write on as long as the trainer asks. Raises ValueError."""
    new, room = trainer.max_completion_length, _context(trainer)  # once a step: unwrapping a model takes .2 ms
    if room is None:
        return
    for start in starts:
        prompt, prefix = len(start.problem.prompt), len(start.prefix)
        if prompt + prefix + new > room:
            which = "vllm_max_model_length" if trainer.use_vllm else "the model's max_position_embeddings"
            raise ValueError(
                f"a prompt of {prompt} tokens, a prefix of {prefix} and max_completion_length {new} are "
                f"{prompt + prefix + new} tokens; {which} is {room}. Lower max_completion_length, or cut shorter "
                f"prefixes: replay.filter.length.max_tokens={max(1, room - prompt - new)}"
            )


def any_process(trainer: Any, flag: bool) -> bool:
    """Whether it holds on one of the processes: they have to call the engine alike."""
    return bool(flag) if trainer.accelerator.num_processes == 1 else any(gather_object([bool(flag)]))


def generate(
    trainer: Any, contexts: list[list[int]], images: Any, fields: dict[str, Any], *, repeats: int
) -> tuple[list[list[int]], list[list[float]] | None]:
    """(new tokens, their log-probs or None) behind each context.

    repeats: rows of one context that stand next to each other. A vLLM server samples only every ``repeats``-th context
    and that many rows of it, so 1 where contexts of a group may differ.
    """
    new, logprobs = trainer._generate_single_turn(contexts, images, fields, repeats)
    return [list(ids) for ids in new], logprobs


def fill(trainer: Any, rows: int) -> None:
    """Sample and score ``rows`` rows of every training prompt through the trainer's own way; nothing is learned.

    Each process takes every n-th prompt, as many as the others, so that collectives meet.
    """
    data, ranks = trainer.train_dataset, trainer.accelerator
    if not hasattr(data, "__len__"):
        raise ValueError("host.fill_rows needs a training set of known length; expected 0, or a map-style data set")
    first = {str(prompt): place for place, prompt in reversed(list(enumerate(data["prompt"])))}  # repeated ones once
    places = sorted(first.values())
    group = trainer.num_generations
    places = [p for p in places for _ in range(-(-rows // group))]  # whole groups, as rewards are compared in them
    each = -(-len(places) // ranks.num_processes)
    own = [places[i % len(places)] for i in range(ranks.process_index * each, (ranks.process_index + 1) * each)]
    per_call = max(1, trainer.args.generation_batch_size // ranks.num_processes // group)
    for begin in range(0, each, per_call):
        inputs = [dict(data[place]) for place in own[begin : begin + per_call] for _ in range(group)]
        trainer._generate_and_score_completions(inputs)
    trainer._metrics["train"].clear()  # these rows are no part of the first logged step


@torch.no_grad()
def logprobs_of(trainer: Any, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
    """Log-probs of (prompt, answer) rows under the policy of today: what a placed answer was "sampled" with.

    Every process reads the same number of rows, empty ones filled up, because a sharded model hangs otherwise.
    """
    most = max(gather_object([len(rows)])) if trainer.accelerator.num_processes > 1 else len(rows)
    filler = ([trainer._tokenizer.pad_token_id], [trainer._tokenizer.pad_token_id])
    found = []
    for prompt, answer in [*rows, *[filler] * (most - len(rows))]:
        ids = torch.tensor([[*prompt, *answer]], device=trainer.accelerator.device)
        logprob, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, torch.ones_like(ids), len(answer)
        )
        found.append(logprob[0].float().tolist())
    return found[: len(rows)]


def _context(trainer: Any) -> int | None:
    if trainer.use_vllm:
        return trainer.args.vllm_max_model_length  # type: ignore[no-any-return]
    config = trainer.accelerator.unwrap_model(trainer.model).config
    return getattr(config, "max_position_embeddings", None)
