"""What every room with a memory can do: give its state and take it back."""

from __future__ import annotations

from typing import Any, Protocol


class Stateful(Protocol):
    """Law: save, load, continue = never stopped. Leaves are tensors, numpy arrays, str, int, float,
    bool, None, lists and str-keyed dicts of these."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
