#!/usr/bin/env bash
# GRPO by verl with retrospective replay; the lines below the comment are all it takes. Needs GPUs. Data: parquet files with
# extra_info.split = "train" in the training rows (examples/data_preprocess of verl writes it).
set -euo pipefail
HERE="$(cd "$(dirname "$0")" && pwd)"
python -m verl.trainer.main_ppo \
  algorithm.adv_estimator=grpo \
  data.train_files="${TRAIN:?parquet file}" data.val_files="${VAL:?parquet file}" \
  data.max_prompt_length=512 data.max_response_length=1024 data.train_batch_size=128 \
  actor_rollout_ref.model.path="${MODEL:-Qwen/Qwen2.5-1.5B-Instruct}" \
  actor_rollout_ref.rollout.name=vllm actor_rollout_ref.rollout.n=8 \
  actor_rollout_ref.rollout.calculate_log_probs=false \
  trainer.n_gpus_per_node="${GPUS:-1}" trainer.total_epochs=3 trainer.save_freq=50 trainer.test_freq=25 \
  `# retrospective replay` \
  +ray_kwargs.ray_init.runtime_env.worker_process_setup_hook=rrl.hosts.verl.setup \
  trainer.v1.trainer_mode=rrl \
  actor_rollout_ref.rollout.agent.default_agent_loop=rrl_agent \
  actor_rollout_ref.rollout.agent.agent_loop_config_path="$HERE/agent_loop.yaml" \
  "+rrl.overrides=[replay/schedule=window,replay/cut=steps]" \
  "$@"
