"""Inputs of the row and head tests, the float64 truth for them, and a PPO-like token loss. Peaked rows are mandatory:
from random logits p stays near 0, and a wrong gradient of the chosen class cannot be seen.
"""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from rrl_kernels.logits import reference


def numbers(*shape, seed=0, std=1.0, dtype=torch.float64):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * std).to(dtype)


def chosen(num_rows, vocab_size, seed=1):
    return torch.randint(0, vocab_size, (num_rows,), generator=torch.Generator().manual_seed(seed))


def peaked(num_rows, vocab_size, p, dtype=torch.float64):
    """Rows whose target has probability p and whose other classes are almost alike; targets beside them."""
    targets = chosen(num_rows, vocab_size)
    logits = numbers(num_rows, vocab_size, seed=2, std=0.1)
    rest = torch.logsumexp(logits.scatter(1, targets[:, None], -torch.inf), 1)
    height = rest + torch.logit(torch.tensor(p, dtype=torch.float64))
    return logits.scatter(1, targets[:, None], height[:, None]).to(dtype), targets


def truth(logits, targets, *, temperature=1.0, softcap=None, mask=None, upstream=None):
    """(logprob, entropy, gradient for upstream = (d_logprob, d_entropy)) in float64 from these very numbers."""
    wide = logits.detach().double().requires_grad_()
    logprob, entropy = reference.logprob_entropy(wide, targets, temperature, softcap, mask)
    if upstream is None:
        return logprob.detach(), entropy.detach(), None
    d_logprob, d_entropy = (x.double() for x in upstream)
    loss = torch.where(d_logprob != 0, d_logprob * logprob, 0.0).sum() + (d_entropy * entropy).sum()
    (grad,) = torch.autograd.grad(loss, wide)
    return logprob.detach(), entropy.detach(), grad


def relative(mine, theirs):
    """norm(mine - theirs) / norm(theirs)."""
    theirs = theirs.double()
    return float((mine.double() - theirs).norm() / theirs.norm().clamp(min=1e-300))


def worst(mine, theirs):
    return float((mine.double() - theirs.double()).abs().max()) if mine.numel() else 0.0


class PPO:
    """Clipped surrogate and an entropy bonus, written once for autograd and once with its derivative by hand."""

    def __init__(self, num_rows, *, entropy_coef=0.01, seed=3, zeros=0.0):
        generator = torch.Generator().manual_seed(seed)
        self.advantage = torch.randn(num_rows, generator=generator, dtype=torch.float64)
        self.advantage[torch.rand(num_rows, generator=generator) < zeros] = 0.0
        self.old_logprob = -2.0 + 0.3 * torch.randn(num_rows, generator=generator, dtype=torch.float64)
        self.entropy_coef, self.num_rows, self.calls = entropy_coef, num_rows, []

    def by_autograd(self, logprob, entropy):
        ratio = (logprob - self.old_logprob.to(logprob)).exp()
        a = self.advantage.to(logprob)
        gain = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)
        return -(gain.sum() + self.entropy_coef * entropy.sum()) / self.num_rows

    def __call__(self, logprob, entropy, index):
        assert not (logprob.requires_grad or entropy.requires_grad)
        self.calls.append(index)
        ratio = (logprob - self.old_logprob[index].to(logprob)).exp()
        a = self.advantage[index].to(logprob)
        gain = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)
        slope = torch.where(ratio * a <= ratio.clamp(0.8, 1.2) * a, ratio * a, 0.0)
        loss = -(gain.sum() + self.entropy_coef * entropy.sum()) / self.num_rows
        return loss, -slope / self.num_rows, torch.full_like(entropy, -self.entropy_coef / self.num_rows)


def watched(work):
    """(most bytes that were live at once, shape of each matrix product's left factor) while ``work()`` ran.

    From torch's own allocator and operator records, which see into custom operators too.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, record_shapes=True) as record:
        work()
    events = record.profiler.kineto_results.events()
    live = peak = 0
    for _, change in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        live += change
        peak = max(peak, live)
    products = {"aten::mm": 0, "aten::addmm": 1, "aten::addmm_": 1}  # where the left factor stands
    return peak, [tuple(e.shapes()[products[e.name()]]) for e in events if e.name() in products]
