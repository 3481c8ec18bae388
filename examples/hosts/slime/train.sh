#!/usr/bin/env bash
# GRPO by slime with retrospective replay: the three lines below the comment. Needs GPUs, and slime's checkout as SLIME.
set -euo pipefail
HERE="$(cd "$(dirname "$0")" && pwd)"
python "${SLIME:?slime checkout}/train.py" \
  --hf-checkpoint "${MODEL:?folder}" --ref-load "${MODEL}_torch_dist" --load "${SAVE:?folder}" --save "$SAVE" --save-interval 20 \
  --prompt-data "${TRAIN:?jsonl}" --input-key prompt --label-key label --apply-chat-template --rollout-shuffle \
  --rm-type deepscaler --advantage-estimator grpo \
  --num-rollout 500 --rollout-batch-size 32 --n-samples-per-prompt 8 --rollout-max-response-len 4096 --global-batch-size 256 \
  --actor-num-nodes 1 --actor-num-gpus-per-node "${GPUS:-8}" --colocate --rollout-num-gpus-per-engine 1 \
  `# retrospective replay` \
  --data-source-path rrl.hosts.slime.ReplayDataSource \
  --rollout-all-samples-process-path rrl.hosts.slime.observe \
  --custom-config-path "$HERE/rrl.yaml" \
  "$@"
