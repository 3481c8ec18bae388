"""Continuations sampled from one replayed start: rrl's engine against transformers' generate on repeated prompts.

python kernels/bench/bench_rollout.py --out kernels/bench/results/cpu_rollout.csv

Everybody samples all C tokens at temperature 1, without a stop token. Floor: the products and pairs of one prefill and
G x C decoded tokens. The prefill is shared; every continuation then decodes on its own copy of the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from bench_shared_prefix import VOCAB, model
from harness import Case, Outputs, Provider, Sample, start

from rrl.ops.logprob import Head
from rrl.policy.engine.hf import HFEngine
from rrl.policy.engine.request import Request
from rrl.policy.hf import HFBackbone
from rrl.policy.prefix.cost import price_of


def backbone(network: Any) -> HFBackbone:
    """The network behind the door that the engine knows, without a task or a source."""
    made: Any = HFBackbone.__new__(HFBackbone)
    made.module, made.config, made.codec = network, network.config, SimpleNamespace(pad=0)
    made.head = lambda dtype: Head(weight=network.lm_head.weight, bias=None, softcap=None, logits_dtype=dtype)
    return made  # type: ignore[no-any-return]


def case(network: Any, context: int, own: int, size: int) -> Case:
    """One context, ``size`` continuations of ``own`` tokens."""
    price = price_of(network.model)
    pairs = context**2 / 2 + size * sum(context + u for u in range(own))

    def sample(generator: torch.Generator) -> dict[str, Any]:
        ids = torch.randint(1, VOCAB, (context,), generator=generator, device=generator.device)
        return {"network": network, "ids": ids.cpu(), "own": own, "size": size}

    return Case(
        op="rollout", mode="forward", size=f"P={context} C={own} G={size}", inputs="random",
        dtype=str(network.dtype).removeprefix("torch."), sample=sample, sample_bytes=1 << 26,
        flops=price.token * (context + size * own) + price.pair * pairs, bytes=0.0, truth=None,
    )


def engine(s: Sample) -> Outputs:
    """Prefill once, copy the cache, decode; noise is given, log-probs and entropies come with the tokens."""
    size, own = s["size"], s["own"]
    request = Request(
        contexts=(tuple(s["ids"].tolist()),) * size, limits=torch.full((size,), own),
        stop_table=torch.zeros(1, VOCAB, dtype=torch.bool), stop_index=torch.zeros(size, dtype=torch.int64),
        uniforms=torch.rand(size, own, dtype=torch.float64), temperature=1.0, greedy=False,
        logits_dtype=torch.float32, observer=None,
    )
    return {"tokens": HFEngine(compact_below=0.75).sample(backbone(s["network"]), request).tokens}


@torch.no_grad()
def generate(s: Sample) -> Outputs:
    """The prompt repeated G times, as trainers call it; no log-probs."""
    network, size = s["network"], s["size"]
    ids = s["ids"].to(network.device).repeat(size, 1)
    out = network.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, max_new_tokens=s["own"],
        min_new_tokens=s["own"], pad_token_id=0,
    )
    return {"tokens": out[:, ids.shape[1] :]}


PROVIDERS = [
    Provider(name="rrl HFEngine", call=engine),
    Provider(name="generate, repeated", call=generate, package="transformers"),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """(P, C, G)."""
    bench = start(__doc__ or "", arguments)
    network = model(bench.device)
    cuda = bench.device.type == "cuda"
    for shape in [(2048, 128, 8), (4096, 128, 8)] if cuda else [(512, 64, 8), (512, 8, 8)]:
        measured = bench.run(case(network, *shape), PROVIDERS)
        time = {row["provider"]: float(row["device_ms_p50"]) for row in measured}
        if len(time) == len(PROVIDERS):
            print(f"{measured[0]['size']}: {time['generate, repeated'] / time['rrl HFEngine']:.2f}x", flush=True)


if __name__ == "__main__":
    main()
