"""Replay's state in TRL's checkpoints: one folder beside the trainer's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rrl.hosts.replaying import FOLDER, HostReplay


class Saves(TrainerCallback):
    """Replay's state goes into each checkpoint of the trainer, and comes back from it."""

    def __init__(self, session: HostReplay) -> None:
        self._session = session

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if state.global_step:
            self._session.load(_folder(args, state))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if state.is_world_process_zero:
            self._session.save(_folder(args, state))


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / FOLDER
