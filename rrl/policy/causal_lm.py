"""The policy: a causal decoder that acts, scores what was done, and learns.

Joins a backbone (the network), an engine (how tokens are sampled) and the layout (how rows are
read). Replay is unknown here: a replayed prefix is only a longer context. Start at ``CausalLM``.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from rrl.ops.logprob import Head
from rrl.ops.minibatch import cuts
from rrl.policy.backbone import Backbone
from rrl.policy.engine.environment import observer_of
from rrl.policy.engine.request import Engine, joined, request_for
from rrl.policy.prefix.reader import ActionReader
from rrl.policy.trunk import OwnTrunk, SharedTrunk
from rrl.protocols import Task, TokenLoss
from rrl.types import Metrics, Rollouts, Sequences, Start, Tokens


class CausalLM:
    """A ``Policy`` (see ``rrl.protocols``).

    Args:
      seed: names the noise of sampling.
      task: whose environment may speak between sampled tokens.
      backbone: the network.
      engine: how tokens are sampled from it.
      temperature: > 0; of the sampling distribution, and so of every log-probability and entropy.
      rows_per_batch: rows sampled or scored at once; bounds memory, cannot change results.
      actions_per_chunk: actions whose logits exist at once; bounds memory, cannot change results; 0 = as many as suit
        the device (``rrl_kernels.tuning.head_chunk``).
      logits_dtype: "float32" or "bfloat16", of logits in sampling, scoring and training alike; weights wider
        than it keep their own.
      prefix_sharing: how rows with equal contexts are read (see ``rrl.policy.prefix.reader``); cannot change results.
      packing: whether whole rows are laid end to end (see there); cannot change results.
      prefix_gradient: whether this policy learns through prompts and prefixes; False is another, biased objective.
    """

    short_keys = ("model", "revision", "gguf_file", "trust_remote_code", "dtype")
    """Keys of its options that stand for those of ``backbone.source``, so that policy.model=... is enough."""

    def __init__(
        self, *, seed: int, task: Task, backbone: Backbone, engine: Engine, temperature: float, rows_per_batch: int,
        actions_per_chunk: int, logits_dtype: str, prefix_sharing: str, packing: str,
        prefix_gradient: bool,
    ) -> None:
        if not temperature > 0.0:
            raise ValueError(f"policy.temperature is {temperature}; expected > 0; ask rollout for greedy instead of 0")
        for key, number, least in (("rows_per_batch", rows_per_batch, 1), ("actions_per_chunk", actions_per_chunk, 0)):
            if number < least:
                raise ValueError(f"policy.{key} is {number}; expected >= {least}")
        if logits_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"policy.logits_dtype is {logits_dtype!r}; expected float32 or bfloat16")
        self._seed, self._task = seed, task
        self.backbone = backbone
        self._engine = engine
        self._temperature = temperature
        self._rows_per_batch = rows_per_batch
        self._actions_per_chunk = actions_per_chunk
        self._logits_dtype: torch.dtype = getattr(torch, logits_dtype)
        reader = partial(
            ActionReader, sharing=prefix_sharing, pad=backbone.codec.pad, rows_per_batch=rows_per_batch,
            packing=packing,
        )
        self._read = reader(prefix_gradient=prefix_gradient)
        # A value estimator judges prefixes: it learns through them whatever the policy does.
        self._judging_reader = partial(reader, prefix_gradient=True)

    @property
    def fingerprint(self) -> str:
        """Changes when the architecture or the temperature does, not with the weights."""
        described = f"{self.backbone.fingerprint} temperature={self._temperature}"
        return hashlib.blake2b(described.encode(), digest_size=16).hexdigest()

    # ------------------------------------------------------------------------------------ behave

    def rollout(
        self, starts: Sequence[Start], *, samples_per_start: int, step: int, first_row: int = 0,
        stream: str = "rollout", greedy: bool = False, row_numbers: np.ndarray | None = None,
    ) -> Rollouts:
        """Sample ``samples_per_start`` rows from each start.

        Args:
          starts: at least one.
          samples_per_start: >= 1; a start's rows stand together, in start order.
          step: policy updates so far; names the noise, as do ``stream`` and the global row.
          first_row: global number of the first row.
          greedy: take the likeliest token; log-probs and entropies stay those of the sampling distribution.
          row_numbers: global number of each row, taken modulo 2^64, where they are not first_row, first_row + 1, ...
        Returns:
          Rows on the CPU; ``ended`` where a stop token or the task's exact length was reached.
        Raises:
          ValueError: nothing to sample, or a row could outgrow the network.
        """
        if not starts or samples_per_start < 1:
            raise ValueError(f"rollout of {len(starts)} starts x {samples_per_start} samples; expected at least 1 x 1")
        row_starts = [start for start in starts for _ in range(samples_per_start)]
        numbers = np.arange(first_row, first_row + len(row_starts)) if row_numbers is None else row_numbers
        row_starts, numbers, place = _by_length(row_starts, numbers, samples_per_start, self._rows_per_batch)
        parts = []
        # Rows of a start stay in one batch where they fit: the engine reads what they share once a batch.
        for first, last in cuts([samples_per_start] * len(starts), self._rows_per_batch):
            part_starts = row_starts[first:last]
            request = request_for(
                part_starts, vocab_size=self.backbone.vocab_size,
                max_positions=self.backbone.max_positions, seed=self._seed, stream=stream, step=step,
                row_numbers=numbers[first:last], temperature=self._temperature, greedy=greedy,
                logits_dtype=self._logits_dtype,
                observer=observer_of(part_starts, self._task),
            )
            parts.append(self._engine.sample(self.backbone, request))
        rows = joined(parts, place)
        exact = torch.tensor([start.problem.exact_length for start in starts]).repeat_interleave(samples_per_start)
        return Rollouts(
            sequences=Sequences(
                starts=tuple(starts), start_index=torch.arange(len(starts)).repeat_interleave(samples_per_start),
                offsets=torch.cat([rows.counts.new_zeros(1), rows.counts.cumsum(0)]), actions=rows.tokens,
                given=rows.given, given_offsets=rows.given_offsets,
            ),
            behavior_logprob=rows.logprob, behavior_entropy=rows.entropy, ended=rows.stopped | exact,
        )

    # ------------------------------------------------------------------------------------- score

    @torch.no_grad()
    def logprob(self, sequences: Sequences) -> tuple[Float32[Tensor, "A"], Float32[Tensor, "A"]]:
        """(log-probability, entropy) of each action under the sampling distribution, on the CPU."""
        hidden = self._read(self.backbone.body, sequences)
        logprob, entropy = self._head.logprob_entropy(
            hidden, sequences.actions.to(hidden.device), temperature=self._temperature,
            chunk_tokens=self._actions_per_chunk,
        )
        return logprob.float().cpu(), entropy.float().cpu()

    # ------------------------------------------------------------------------------------- learn

    def loss(
        self, sequences: Sequences, token_loss: TokenLoss, *, whole_rows: bool = False
    ) -> tuple[Tensor, Metrics]:
        """A scalar with token_loss's value whose ``backward()`` gives token_loss's gradient.

        token_loss sees detached log-probs and entropies and answers with (loss, g_lp, g_H), so any objective in
        plain torch runs inside the output layer, where logits exist a chunk at a time and their gradient is formed
        in the pass that made them.

        Args:
          sequences: rows; prompts and prefixes are context only.
          token_loss: see ``rrl.protocols.TokenLoss``; called for ``actions_per_chunk`` actions at a time.
          whole_rows: token_loss needs all actions in one call (sequence ratios). Then the logits are made again in
            backward; the scalar is loss + sum(g_lp (lp - sg lp)) + sum(g_H (H - sg H)).
        Returns:
          (scalar, {"learn/entropy_nats": mean entropy of these actions}).
        """
        hidden = self._read(self.backbone.body, sequences)
        actions = sequences.actions.to(hidden.device)
        options: dict[str, Any] = {"temperature": self._temperature, "chunk_tokens": self._actions_per_chunk}
        if whole_rows and not len(actions) <= self._actions_per_chunk:
            scalar, entropy = _loss_at_once(*self._head.logprob_entropy(hidden, actions, **options), token_loss)
        else:
            scalar, entropy = self._head.policy_loss(hidden, actions, token_loss, **options)
        if not scalar.requires_grad:  # only contexts were read, without gradient, under a frozen head: nothing learns
            scalar = scalar.detach().requires_grad_()
        return scalar, {"learn/entropy_nats": float(entropy.mean())}

    @property
    def _head(self) -> Head:
        return self.backbone.head(self._logits_dtype)

    # ------------------------------------------------------------------------------------- share

    def trunk(self, *, init: str, num_layers: int, seed: int) -> OwnTrunk:
        """A network of this family for a value estimator, with weights of its own.

        Args:
          init: "scratch" (its own initial weights), "policy" (a copy of this policy's) or, with policy=causal_lm, the
            name or folder of a model that reads the same ids, e.g. a reward model; its decoder is taken.
          num_layers: 0 = as many as there; of copied or loaded ones, at most as many.
          seed: names the scratch weights.
        """
        body = self.backbone.new_body(init=init, num_layers=num_layers, seed=seed)
        body.requires_grad_(True)
        return OwnTrunk(body=body, width=body.width, reader=self._judging_reader())

    def shared_trunk(self, *, detach: bool) -> SharedTrunk:
        """This policy's own trunk, for a head on it; ``detach`` stops the head's gradient there."""
        body, width = self.backbone.body, self.backbone.width
        return SharedTrunk(body=body, width=width, reader=self._judging_reader(), detach=detach)

    def frozen(self) -> CausalLM:
        """A copy whose weights never change: the reference of a KL term."""
        twin = copy.copy(self)
        twin.backbone = self.backbone.copy()
        twin.backbone.module.requires_grad_(False)
        return twin

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.backbone.module.parameters()

    def state_dict(self) -> dict[str, Any]:
        """Weights that can change, under the backbone's own names (LlamaForCausalLM's for the tiny one), copied."""
        return {name: tensor.detach().clone() for name, tensor in self.backbone.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.backbone.load_state_dict(state)

    def encode(self, text: str) -> Tokens:
        return self.backbone.codec.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.backbone.codec.decode(tokens)


def _loss_at_once(logprob: Tensor, entropy: Tensor, token_loss: TokenLoss) -> tuple[Tensor, Tensor]:
    """One call of token_loss over all actions, its derivatives handed to autograd."""
    logprob_cpu, entropy_cpu = logprob.detach().cpu(), entropy.detach().cpu()
    value, d_logprob, d_entropy = token_loss(logprob_cpu, entropy_cpu, torch.arange(len(logprob)))
    surrogate = torch.dot(logprob, d_logprob.to(logprob))
    if bool(d_entropy.any()):  # most objectives have no entropy term; then its backward is not run at all
        surrogate = surrogate + torch.dot(entropy, d_entropy.to(entropy))
    return surrogate - surrogate.detach() + value.detach().to(surrogate), entropy.detach()


def _by_length(
    starts: list[Start], numbers: np.ndarray, samples_per_start: int, rows_per_batch: int
) -> tuple[list[Start], np.ndarray, Tensor]:
    """Rows with starts of like length side by side, so that a batch pads little; and where each row went.

    One batch keeps its order: there is nothing to gain.
    """
    if len(starts) <= rows_per_batch:
        return starts, numbers, torch.arange(len(starts))
    groups = np.arange(len(starts)).reshape(-1, samples_per_start)
    lengths = np.array([len(starts[group[0]].context) for group in groups])
    order = groups[np.argsort(lengths, kind="stable")].reshape(-1)
    return [starts[i] for i in order], numbers[order], torch.from_numpy(np.argsort(order))
