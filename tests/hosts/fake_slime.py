"""slime's ``Sample`` and data source, rebuilt from their documented fields: slime is on no package registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Status(Enum):
    PENDING = "pending"
    COMPLETED = "completed"
    TRUNCATED = "truncated"
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass
class Sample:
    prompt: Any = ""
    tokens: list[int] = field(default_factory=list)
    response: str = ""
    response_length: int = 0
    label: str | None = None
    reward: float | dict[str, Any] | None = None
    loss_mask: list[int] | None = None
    rollout_log_probs: list[float] | None = None
    status: Status = Status.PENDING
    metadata: dict[str, Any] = field(default_factory=dict)

    def get_reward_value(self, args: Any) -> Any:
        return self.reward[args.reward_key] if args.reward_key else self.reward

    def go_on(self, prompt: tuple[int, ...], new: tuple[int, ...]) -> None:
        """What slime's generation does with a pending or an aborted sample: it appends, and the new is trainable."""
        assert self.status in (Status.PENDING, Status.ABORTED)
        self.tokens = [*(self.tokens or prompt), *new]
        self.response_length += len(new)
        self.loss_mask = [*(self.loss_mask or []), *[1] * len(new)]
        self.rollout_log_probs = [*(self.rollout_log_probs or []), *[-1.0] * len(new)]
        self.status = Status.COMPLETED


class Deals:
    """A data source that deals prompts in order, ``group`` samples each."""

    def __init__(self, prompts: list[Any], group: int) -> None:
        self._prompts, self._group, self._next = prompts, group, 0
        self.put_back: list[Any] = []
        self.saved: list[int] = []

    def get_samples(self, num_samples: int) -> list[list[Sample]]:
        dealt = self._prompts[self._next : self._next + num_samples]
        self._next += num_samples
        return [[Sample(prompt=prompt) for _ in range(self._group)] for prompt in dealt]

    def add_samples(self, samples: list[Any]) -> None:
        self.put_back += samples

    def save(self, rollout_id: int) -> None:
        self.saved.append(rollout_id)

    def load(self, rollout_id: int | None = None) -> None:
        return None

    def __len__(self) -> int:
        return len(self._prompts)
