"""The states that predict every action, contexts of a group read once where that pays.

One door for scoring, training and value trunks; ``CausalLM`` and its trunks own one each. Start at
``ActionReader``; what can be chosen stands in ``BACKENDS``. Legend: as in ``groups``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rrl.ops.minibatch import cuts
from rrl.policy.hf import HFBody
from rrl.policy.layout import Layout, action_layout, start_layout
from rrl.policy.precision import products_of
from rrl.policy.prefix import cost
from rrl.policy.prefix.backends import kv_reuse, tree_mask
from rrl.policy.prefix.flex import flex
from rrl.policy.prefix.groups import Groups, groups_of, shared
from rrl.policy.prefix.packing import CHOICES, packed, packs
from rrl.policy.prefix.refusals import refusal
from rrl.types import Sequences, Start, rows_to_actions

log = logging.getLogger(__name__)

Backend = Callable[[Any, Groups], Tensor]
BACKENDS: dict[str, tuple[Backend, Callable[[Groups], cost.Work]]] = {
    "kv_reuse": (kv_reuse, cost.reused), "tree_mask": (tree_mask, cost.masked), "flex": (flex, cost.blocked),
}
# Predicted work of whole rows over that of a shared reading from which auto shares: below it, the estimate may err
# by more than is saved.
LEAST_RATIO = 1.3

# Largest |difference| / |state| of one state between two ways of reading. A context cut off is an error of order 1;
# transformers norms float64 states in float32.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 2e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class ActionReader:
    """Reads the states that predict the actions of ``Sequences``.

    Args:
      sharing: "repeat" (every row whole), "kv_reuse", "tree_mask", "flex", or "auto": the cheapest of these by
        predicted work, repeat where the saving is small or the decoder refuses. A way named here is taken whatever
        it saves, or refused with an error.
      pad: token id.
      rows_per_batch: rows read at once without gradient; a group larger than that is cut.
      packing: whole rows are laid end to end: "auto" (for FlashAttention), "always" or "never".
      prefix_gradient: whether gradients flow through contexts. Without them the objective is another, biased one:
        what a continuation teaches no longer reaches the reading of its prefix.
    Raises:
      ValueError: a choice is none of these; when called, the way asked for by name cannot be taken.
    """

    def __init__(
        self, *, sharing: str, pad: int, rows_per_batch: int, packing: str, prefix_gradient: bool
    ) -> None:
        if packing not in CHOICES:
            raise ValueError(f"policy.packing is {packing!r}; expected {', '.join(CHOICES)}")
        if not prefix_gradient and sharing not in ("auto", "kv_reuse"):
            raise ValueError(
                f"policy.prefix_gradient is false and policy.prefix_sharing {sharing}; expected auto or kv_reuse, "
                "which reads contexts apart"
            )
        if sharing not in ("auto", "repeat", *BACKENDS):
            raise ValueError(
                f"policy.prefix_sharing is {sharing!r}; expected auto, repeat, {', '.join(BACKENDS)}"
            )
        self._sharing, self._pad, self._rows_per_batch = sharing, pad, rows_per_batch
        self._packing, self._prefix_gradient = packing, prefix_gradient
        self._sound: dict[str, str | None] = {}  # what the first use of a way showed
        self._said: set[str] = set()

    def __call__(self, body: nn.Module, sequences: Sequences) -> Float[Tensor, "A d"]:
        """The state before each action, in order, differentiable where gradients are on."""
        if torch.is_grad_enabled() and not self._prefix_gradient:
            return self._without_prefix_gradient(body, sequences)
        way = self._way(body, sequences)
        if way == "repeat":
            return self._repeat(body, sequences)
        backend, _ = BACKENDS[way]
        if torch.is_grad_enabled() or sequences.num_rows <= self._rows_per_batch:
            return backend(body.decoder, groups_of(sequences, self._pad))
        parts = list(self._parts(sequences))
        states = [backend(body.decoder, groups_of(sequences.rows(rows), self._pad)) for rows in parts]
        order = torch.cat([rows_to_actions(sequences.offsets, rows) for rows in parts])
        return torch.cat(states)[torch.argsort(order).to(states[0].device)]

    def starts(self, body: nn.Module, starts: Sequence[Start]) -> Float[Tensor, "S d"]:
        """The state that predicts the first action of each start."""
        return self._read(body, start_layout(starts, self._pad))

    def _without_prefix_gradient(self, body: nn.Module, sequences: Sequences) -> Tensor:
        reason: str | None = "the house's own tiny decoder reads whole rows"
        if isinstance(body, HFBody):
            reason = self._reason(body, "kv_reuse", sequences)
        if reason is not None:
            raise ValueError(f"policy.prefix_gradient is false, but {reason}; expected true here")
        return kv_reuse(body.decoder, groups_of(sequences, self._pad), prefix_gradient=False)

    def _repeat(self, body: nn.Module, sequences: Sequences) -> Tensor:
        return self._read(body, action_layout(sequences, self._pad))

    def _read(self, body: nn.Module, layout: Layout) -> Tensor:
        """The wanted states; without gradient, ``rows_per_batch`` rows at a time."""
        parts = [layout] if torch.is_grad_enabled() else layout.split(self._rows_per_batch)
        if self._packs(body):
            parts = [packed(part) for part in parts]
        states = [part.gather(body(part)) for part in parts]
        return states[0] if len(states) == 1 else torch.cat(states)

    def _packs(self, body: nn.Module) -> bool:
        if isinstance(body, HFBody):
            return packs(body.decoder, self._packing)
        if self._packing == "always":
            raise ValueError("policy.packing is always, but the house's own tiny decoder reads padded rows; expected "
                             "auto or never here")
        return False

    def _parts(self, sequences: Sequences) -> Iterator[Tensor]:
        """Rows of at most ``rows_per_batch``, groups together, those of like context lengths too."""
        groups = groups_of(sequences, self._pad)
        order = torch.argsort(groups.before * len(groups.context_lengths) + groups.group, stable=True)
        sizes = torch.bincount(groups.group)[torch.unique_consecutive(groups.group[order])].tolist()
        return (order[first:last].sort().values for first, last in cuts(sizes, self._rows_per_batch))

    # ------------------------------------------------------------------------------------ choose

    def _way(self, body: nn.Module, sequences: Sequences) -> str:
        if self._sharing == "repeat":
            return "repeat"
        if not isinstance(body, HFBody):
            return self._refuse(self._sharing, "the house's own tiny decoder reads whole rows")
        if self._sharing != "auto":
            reason = self._reason(body, self._sharing, sequences)
            return self._sharing if reason is None else self._refuse(self._sharing, reason)
        if not shared(sequences):
            return "repeat"
        return self._cheapest(body, sequences)

    def _cheapest(self, body: HFBody, sequences: Sequences) -> str:
        refused = {name: refusal(body.decoder, name) for name in BACKENDS if self._usual(body, name)}
        for name, reason in refused.items():
            if reason is not None:
                self._refuse(name, reason)
        able = [name for name, reason in refused.items() if reason is None]
        if not able:
            return "repeat"
        groups, price = groups_of(sequences, self._pad), cost.price_of(body.decoder)
        whole = price.of(cost.repeated(groups))
        ratio = {name: whole / price.of(BACKENDS[name][1](groups)) for name in able}
        for name in sorted(able, key=lambda n: -ratio[n]):
            if ratio[name] > LEAST_RATIO and self._reason(body, name, sequences) is None:
                self._say(f"{name}: contexts are read once a group; predicted saving {ratio[name]:.2f}x")
                return name
        return "repeat"

    @staticmethod
    def _usual(body: HFBody, name: str) -> bool:
        """On a CPU flex is a loop over everything, without a backward; on a GPU it is compiled once."""
        return name != "flex" or next(body.parameters()).is_cuda

    def _reason(self, body: HFBody, name: str, sequences: Sequences) -> str | None:
        reason = refusal(body.decoder, name)
        if reason is None and name not in self._sound:
            self._sound[name] = self._check(body, name, sequences)
            if self._sound[name] is not None and self._sharing == "auto":
                log.warning("prefix sharing, %s is not used: %s", name, self._sound[name])
        return reason or self._sound[name]

    @torch.no_grad()
    def _check(self, body: HFBody, name: str, sequences: Sequences) -> str | None:
        """Read two rows of the largest group both ways; the reason where they differ."""
        groups = groups_of(sequences, self._pad)
        largest = int(torch.bincount(groups.group).argmax())
        rows = sequences.rows((groups.group == largest).nonzero()[:2, 0])
        expected = self._repeat(body, rows).double()
        found = BACKENDS[name][0](body.decoder, groups_of(rows, self._pad)).double()
        error = float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max())
        if error <= TOLERANCE.get(products_of(body.decoder) or body.decoder.dtype, 0.0):
            return None
        return f"its states differ from those of whole rows by up to {error:.2g} of their norm"

    def _refuse(self, name: str, reason: str) -> str:
        if self._sharing != "auto":
            raise ValueError(f"policy.prefix_sharing is {name}, but {reason}; expected auto or repeat here")
        self._say(f"{name} is not used: {reason}")
        return "repeat"

    def _say(self, line: str) -> None:
        kind = line.split(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            log.info("prefix sharing, %s", line)
