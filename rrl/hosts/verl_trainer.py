"""verl's synchronous trainer with three calls of ours: make the store, tell it each batch, save it."""

from __future__ import annotations

from typing import Any

import ray

from rrl.hosts.verl import batch_of, checkpoint_folder, store_of
from rrl.hosts.verl_store import FIELDS


def register_rrl_trainer() -> type:
    """Register ``trainer.v1.trainer_mode=rrl``; a second call in one process changes nothing."""
    import transfer_queue as tq
    from omegaconf import open_dict
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, register_trainer
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    if "rrl" in TRAINER_REGISTRY:
        return TRAINER_REGISTRY["rrl"]

    @register_trainer("rrl")
    class RRLTrainer(PPOTrainerSync):
        """Everything about training is verl's."""

        def __init__(self, config: Any) -> None:
            with open_dict(config):
                config.trainer.v1.trainer_mode = "sync"  # verl chooses its replay buffer by this name
            super().__init__(config)

        def _load_checkpoint(self) -> Any:
            found = super()._load_checkpoint()
            self.rrl_store = store_of(self.config, int(self.total_training_steps))
            if self.global_steps:
                ray.get(self.rrl_store.load.remote(checkpoint_folder(self.config, self.global_steps)))
            return found

        def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
            batch = super()._compute_advantage(batch, metrics)
            fields = [*FIELDS, "extra_fields", *(["values"] if self.use_critic else [])]
            data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
            told = batch_of(data, critic=self.use_critic)
            metrics.update(ray.get(self.rrl_store.observe.remote(told, self.global_steps)))
            return batch

        def _save_checkpoint(self) -> None:
            # First ours: verl's checkpoint counts only when it has written its tracker file, which it does last.
            ray.get(self.rrl_store.save.remote(checkpoint_folder(self.config, self.global_steps)))
            super()._save_checkpoint()

    return RRLTrainer
