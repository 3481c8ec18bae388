"""Fakes for the value, objective and learner tests: a tabular policy, rows by hand, ranks in threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Problem, Rollouts, Scored, Start, sequences_of

VOCAB = 5


def problem(name="p", max_response=8, prompt=(0,)):
    return Problem(
        id=name, prompt=prompt, answer="", solution=(), task="fake", difficulty="hard",
        max_response=max_response, stop=(), exact_length=True,
    )


def progress(step=0, done_frac=0.0):
    return Progress(
        step=step, sampled_tokens=int(1000 * done_frac), token_budget=1000, history=(), first=None, peak=None
    )


class SoloRanks(Ranks):
    def __init__(self):
        self.size, self.rank, self._opened = 1, 0, False


class ThreadRanks(Ranks):
    """One of several ranks that live in threads of this process."""

    def __init__(self, rank, shared):
        self.rank, self.size, self._opened = rank, shared["barrier"].parties, False
        self._shared = shared

    @classmethod
    def together(cls, functions):
        """Run functions[r](ranks of r) at the same time; their results in rank order."""
        shared = {"barrier": threading.Barrier(len(functions)), "slots": [None] * len(functions)}
        with ThreadPoolExecutor(len(functions)) as pool:
            futures = [pool.submit(function, cls(r, shared)) for r, function in enumerate(functions)]
        return [future.result() for future in futures]

    def _exchange(self, mine):
        self._shared["slots"][self.rank] = mine
        self._shared["barrier"].wait(timeout=10)
        everyone = list(self._shared["slots"])
        self._shared["barrier"].wait(timeout=10)
        return everyone

    def gather(self, items):
        return [x for part in self._exchange(items) for x in part]

    def sum(self, numbers):
        return [float(sum(column)) for column in zip(*self._exchange(list(numbers)), strict=True)]

    def sum_gradients(self, parameters):
        for p in parameters:
            grad = torch.zeros_like(p) if p.grad is None else p.grad
            p.grad = torch.stack(self._exchange(grad.detach().clone())).sum(0)


class TabularPolicy:
    """Logits by (previous token, position in the response): one table row for each context here."""

    def __init__(self, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(VOCAB, 9, VOCAB, generator=generator, dtype=torch.float64).to(dtype)
        self.logits = torch.nn.Parameter(table)
        self.chunk = 7  # tokens a call of the token loss, on purpose not a multiple of anything

    def parameters(self):
        return iter([self.logits])

    def contexts(self, sequences):
        """(previous token, position) of each action."""
        previous, position = [], []
        for row in range(sequences.num_rows):
            start, tokens = sequences.start_of(row), sequences.tokens_of(row)
            line = start.context + tokens
            for u in range(len(tokens)):
                previous.append(line[len(start.context) + u - 1])
                position.append(len(start.prefix) + u)
        return torch.tensor(previous), torch.tensor(position)

    def _read(self, sequences):
        table = torch.log_softmax(self.logits[self.contexts(sequences)], dim=-1)
        chosen = table[torch.arange(len(table)), sequences.actions]
        return chosen, -(table.exp() * table).sum(-1)

    @torch.no_grad()
    def logprob(self, sequences):
        logprob, entropy = self._read(sequences)
        return logprob.float(), entropy.float()

    def loss(self, sequences, token_loss, whole_rows=False):
        logprob, entropy = self._read(sequences)
        total, surrogate = 0.0, 0.0
        for first in range(0, len(logprob), self.chunk):
            index = torch.arange(first, min(first + self.chunk, len(logprob)))
            loss, d_logprob, d_entropy = token_loss(logprob[index].detach(), entropy[index].detach(), index)
            total = total + loss
            surrogate = surrogate + (d_logprob * logprob[index]).sum() + (d_entropy * entropy[index]).sum()
        return surrogate + (total - surrogate).detach(), {}

    def trunk(self, *, init, num_layers, seed):
        return TabularTrunk(seed=seed)

    def shared_trunk(self, *, detach):
        return _SharedTrunk(self, detach)


class TabularTrunk:
    """A hidden vector for each (previous token, position)."""

    width = 4

    def __init__(self, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed + 100)
        self.table = torch.nn.Parameter(torch.randn(VOCAB, 9, self.width, generator=generator, dtype=dtype))

    def parameters(self):
        return iter([self.table])

    def hidden(self, sequences):
        return self.table[TabularPolicy.contexts(self, sequences)]

    def start_hidden(self, starts):
        last = torch.tensor([s.context[-1] for s in starts])
        return self.table[last, torch.tensor([len(s.prefix) for s in starts])]


class _SharedTrunk:
    width = VOCAB

    def __init__(self, policy, detach):
        self._policy, self._detach = policy, detach

    def parameters(self):
        return iter(()) if self._detach else self._policy.parameters()

    def _pass(self, x):
        return x.detach() if self._detach else x

    def hidden(self, sequences):
        return self._pass(self._policy.logits[TabularPolicy.contexts(self, sequences)])

    def start_hidden(self, starts):
        last = torch.tensor([s.context[-1] for s in starts])
        return self._pass(self._policy.logits[last, torch.tensor([len(s.prefix) for s in starts])])


def rollouts_of(rows, policy=None, ended=None):
    """Rollouts of (start, tokens) rows whose behaviour log-probs are the policy's own (0 without one)."""
    sequences = sequences_of(rows)
    num = len(sequences.actions)
    logprob, entropy = policy.logprob(sequences) if policy else (torch.zeros(num), torch.zeros(num))
    ended = torch.ones(len(rows), dtype=torch.bool) if ended is None else torch.tensor(ended)
    return Rollouts(sequences=sequences, behavior_logprob=logprob, behavior_entropy=entropy, ended=ended)


def scored_of(rows, scores, policy=None, ended=None):
    """Scored rows: the score on the last token; solved where it is 1."""
    rollouts = rollouts_of(rows, policy, ended)
    score = torch.tensor(scores, dtype=torch.float32)
    reward = torch.zeros(len(rollouts.sequences.actions))
    reward[rollouts.sequences.offsets[1:] - 1] = score
    return Scored(rollouts=rollouts, score=score, solved=score == 1.0, reward=reward)


def estimated_of(rows, advantage, policy=None, scores=None, value=None, target=None, success=None):
    """Estimated rows with the given numbers on axis A."""
    scored = scored_of(rows, scores or [0.0] * len(rows), policy)
    num = len(scored.reward)

    def column(x, default):
        return torch.full((num,), default) if x is None else torch.tensor(x, dtype=torch.float32)

    return Estimated(
        scored=scored, value=column(value, 0.5), success=column(success, 0.5),
        advantage=column(advantage, 0.0), target_return=column(target, 0.0),
    )


def random_rows(num, seed=0, prefix_tokens=0, problems=3):
    """``num`` (start, tokens) rows of 1..4 tokens, with a prefix of that many tokens."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high, size):
        return tuple(torch.randint(0, high, (size,), generator=generator).tolist())

    rows = []
    for i in range(num):
        start = Start(problem=problem(f"p{i % problems}", prompt=(i % problems,)), prefix=draw(VOCAB, prefix_tokens))
        rows.append((start, draw(VOCAB, 1 + draw(4, 1)[0])))
    return rows


def random_estimated(num, seed=0, prefix_tokens=0, policy=None):
    """Estimated random rows with random advantages and targets in [0, 1]."""
    rows = random_rows(num, seed, prefix_tokens)
    blank = estimated_of(rows, None, policy, scores=[float(i % 2) for i in range(num)])
    generator = torch.Generator().manual_seed(seed + 1)
    size = len(blank.advantage)
    return replace(
        blank,
        advantage=torch.randn(size, generator=generator),
        target_return=torch.rand(size, generator=generator),
        value=torch.rand(size, generator=generator),
        success=torch.rand(size, generator=generator),
    )
