"""The same quantity from an installed peer: TRL's log-probs and entropies, TorchRL's GAE and V-trace (extra `dev`)."""

from __future__ import annotations

import pytest
import torch

from rrl.ops.advantage import gae
from rrl_kernels.api import logprob_entropy
from rrl_kernels.segments import segment_vtrace


def test_logprob_and_entropy_equal_trl() -> None:
    peer = pytest.importorskip("trl.trainer.utils", reason="needs trl: pip install -e .[dev]")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 197, generator=generator) * 4.0
    targets = torch.randint(0, 197, (64,), generator=generator)
    logprob, entropy = logprob_entropy(logits, targets, 0.7)
    torch.testing.assert_close(logprob, peer.selective_log_softmax(logits / 0.7, targets), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, peer.entropy_from_logits(logits / 0.7), atol=1e-5, rtol=1e-5)


def test_gae_equals_torchrl_on_rows_end_to_end() -> None:
    peer = pytest.importorskip("torchrl.objectives.value.functional", reason="needs torchrl: pip install -e .[dev]")
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


@pytest.mark.parametrize("length", [1, 6])
def test_vtrace_equals_torchrl_row_by_row(length: int) -> None:
    peer = pytest.importorskip("torchrl.objectives.value.functional", reason="needs torchrl: pip install -e .[dev]")
    generator = torch.Generator().manual_seed(length)
    # Rows of one length: theirs is [batch, time]. The second row was cut and bootstraps.
    reward, value, new, old = torch.randn(4, 3 * length, generator=generator)
    old = new + 0.7 * (old - new)
    final, offsets = torch.tensor([0.0, 0.4, 0.0]), torch.arange(4) * length
    ours = segment_vtrace(
        reward, value, new, old, offsets, bootstrap_value=final, gamma=0.97, lam=1.0, rho_bar=1.1, c_bar=0.9
    )

    def row(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(3, length, 1)

    after = torch.cat([row(value)[:, 1:], final[:, None, None]], dim=1)
    done = torch.zeros(3, length, 1, dtype=torch.bool)
    done[:, -1] = True
    ended = done & torch.tensor([True, False, True])[:, None, None]
    advantage, target = peer.vtrace_advantage_estimate(
        0.97, row(new), row(old), row(value), after, row(reward), done, ended, rho_thresh=1.1, c_thresh=0.9
    )
    torch.testing.assert_close(row(ours.value_target), target, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(row(ours.rho * ours.advantage), advantage, atol=1e-5, rtol=1e-5)  # theirs is weighed
