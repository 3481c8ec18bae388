"""A ten-line task and small policies over it."""

from rrl.policy.causal_lm import CausalLM
from rrl.policy.engine.hf import HFEngine
from rrl.policy.engine.tiny import TinyEngine
from rrl.policy.hf import HFBackbone
from rrl.policy.sources import TinyLlama
from rrl.policy.tiny import TinyBackbone
from rrl.types import Problem, Start

SIZES = {
    "width": 16, "num_layers": 2, "num_heads": 2, "ff_width": 24, "max_positions": 24, "rope_base": 100.0,
    "norm_eps": 1e-6, "embedding_std": 0.5, "linear_gain": 1.0,
}


class Digits:
    """Tokens 0..10; text is the ids."""

    name, fingerprint, score_range, vocab_size, pad = "digits", "digits-1", (0.0, 1.0), 11, 0

    def encode(self, text):
        return tuple(int(word) for word in text.split())

    def decode(self, tokens):
        return " ".join(str(t) for t in tokens)


class Echo(Digits):
    """Says 10 and the token itself after every even token that the policy takes (0, 2, 4, ...)."""

    max_given = 24

    def observe(self, problem, response):
        return (10, response[-1]) if response[-1] % 2 == 0 else ()


def problem(prompt=(1, 2), max_response=6, stop=(), exact_length=False, name="p"):
    return Problem(
        id=name, prompt=tuple(prompt), answer="", solution=(), task="digits", difficulty="easy",
        max_response=max_response, stop=tuple(stop), exact_length=exact_length,
    )


def start(prefix=(), **fields):
    return Start(problem=problem(**fields), prefix=tuple(prefix))


def tiny(seed=0, dtype="float64", temperature=1.0, rows_per_batch=64, actions_per_chunk=64, task=None,
         prefix_gradient=True, packing="never", **sizes):
    return CausalLM(
        seed=seed, task=task or Digits(), engine=TinyEngine(),
        backbone=TinyBackbone(seed=seed, task=Digits(), dtype=dtype, **(SIZES | sizes)),
        temperature=temperature, rows_per_batch=rows_per_batch, actions_per_chunk=actions_per_chunk,
        logits_dtype="float32", prefix_sharing="auto", packing=packing, prefix_gradient=prefix_gradient,
    )


def tiny_hf(
    seed=0, dtype="float64", temperature=1.0, rows_per_batch=64, compact_below=0.75, checkpointing=False, task=None,
    sharing="auto", device="cpu", mixed=None, packing="auto",
    prefix_gradient=True, source=None, **sizes,
):
    source = source or TinyLlama(seed=seed, task=Digits(), dtype=dtype, **(SIZES | sizes))
    return CausalLM(
        seed=seed, task=task or Digits(), temperature=temperature, rows_per_batch=rows_per_batch, actions_per_chunk=64,
        logits_dtype="float32", prefix_sharing=sharing, packing=packing,
        prefix_gradient=prefix_gradient,
        backbone=HFBackbone(task=Digits(), source=source, gradient_checkpointing=checkpointing, device=device,
                            mixed_precision=mixed),
        engine=HFEngine(compact_below=compact_below),
    )


MIXED = [
    start(
        prompt=(1, 2 + i % 5), prefix=(3,) * (i % 4), max_response=4 + i % 5, stop=(9, 10) if i % 3 else (), name=str(i)
    )
    for i in range(16)
]
"""Sixteen starts of mixed context lengths, limits and stops."""
