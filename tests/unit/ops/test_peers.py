"""The same quantity from an installed peer: TRL's log-probs and entropies, TorchRL's GAE (extra `bench`)."""

from __future__ import annotations

import pytest
import torch

from rrl.ops.advantage import gae
from rrl_kernels.api import logprob_entropy


def test_logprob_and_entropy_equal_trl() -> None:
    peer = pytest.importorskip("trl.trainer.utils", reason="needs trl: pip install -e .[bench]")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 197, generator=generator) * 4.0
    targets = torch.randint(0, 197, (64,), generator=generator)
    logprob, entropy = logprob_entropy(logits, targets, 0.7)
    torch.testing.assert_close(logprob, peer.selective_log_softmax(logits / 0.7, targets), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, peer.entropy_from_logits(logits / 0.7), atol=1e-5, rtol=1e-5)


def test_gae_equals_torchrl_on_rows_end_to_end() -> None:
    peer = pytest.importorskip("torchrl.objectives.value.functional", reason="needs torchrl: pip install -e .[bench]")
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([5, 1, 7, 3])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    reward, value = torch.randn(2, 16, generator=generator)
    final = torch.tensor([0.0, 0.3, 0.0, -0.8])  # rows 1 and 3 were cut: they bootstrap
    ours = gae(reward, value, final, offsets, gamma=0.97, lam=0.9)

    after = torch.cat([value[1:], value[:1]])
    after[offsets[1:] - 1] = final
    done = torch.zeros(16, dtype=torch.bool)
    done[offsets[1:] - 1] = True
    ended = done.clone()
    ended[offsets[1:][[1, 3]] - 1] = False
    theirs, _ = peer.generalized_advantage_estimate(
        0.97, 0.9, value[:, None], after[:, None], reward[:, None], done[:, None], ended[:, None]
    )
    torch.testing.assert_close(ours, theirs[:, 0], atol=1e-5, rtol=1e-5)
