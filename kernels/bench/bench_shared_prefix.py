"""Rows that share a context, read with it once or once a row: log-probs, and their gradient in every weight.

python kernels/bench/bench_shared_prefix.py --out kernels/bench/results/cpu_shared_prefix.csv

Beside the CSV a second one, ``..._ratio.csv``: how many times faster than repeating each provider was, and how many
times less the formula says there is to compute (``rrl.policy.prefix.cost``; 2 N T + 4 L d pairs).
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peers
import torch
from harness import Case, Outputs, Provider, Sample, start
from torch import Tensor

from rrl.policy.layout import action_layout
from rrl.policy.prefix import cost
from rrl.policy.prefix.backends import kv_reuse, tree_mask
from rrl.policy.prefix.flex import flex
from rrl.policy.prefix.groups import groups_of
from rrl.types import Problem, Start, sequences_of

VOCAB = 512
CPU_MODEL: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 2, "intermediate_size": 704,
                             "num_attention_heads": 4}  # fmt: skip
GPU_MODEL: dict[str, Any] = {"hidden_size": 1536, "num_hidden_layers": 12, "intermediate_size": 8960,
                             "num_attention_heads": 12}  # fmt: skip


def model(device: torch.device, attention: str = "sdpa") -> Any:
    """A random Qwen3-shaped decoder with its head. The GPU's has the layers of a 1.5B model: 12 of its 28, for the
    activations of whole rows to fit, and a small vocabulary."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = GPU_MODEL if device.type == "cuda" else CPU_MODEL
    heads = shape["num_attention_heads"]
    options: dict[str, Any] = {"attn_implementation": attention}
    config = Qwen3Config(
        vocab_size=VOCAB, num_key_value_heads=max(1, heads // 6), head_dim=shape["hidden_size"] // heads,
        max_position_embeddings=8192, pad_token_id=0, **shape, **options,
    )
    torch.manual_seed(0)
    made: Any = Qwen3ForCausalLM(config)
    return made.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32).eval()


def rows(context: int, own: int, size: int, seed: int) -> Any:
    """One start of ``context`` tokens with ``size`` continuations of ``own`` random actions."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCAB, (context + size * own,), generator=generator).tolist()
    problem = Problem(
        id="p", prompt=tuple(tokens[:context]), answer="", solution=(), task="", difficulty="", max_response=own,
        stop=(), exact_length=False,
    )
    begin = Start(problem=problem)
    return sequences_of([(begin, tokens[context + i * own : context + (i + 1) * own]) for i in range(size)])


def case(network: Any, mode: str, context: int, own: int, size: int) -> Case:
    """Floor: the products and pairs of the shared reading, three times over with gradients."""
    groups = groups_of(rows(context, own, size, 0), 0)
    times = 3.0 if mode == "full" else 1.0
    price, least = cost.price_of(network.model), cost.blocked(groups)

    def sample(generator: torch.Generator) -> dict[str, Any]:
        return {"network": network, "rows": rows(context, own, size, generator.initial_seed()), "mode": mode}

    def truth(s: Sample) -> Outputs:
        exact = s | {"network": copy.deepcopy(s["network"]).double()}
        return {name: x.cpu() for name, x in provider(repeat)(exact).items()}

    return Case(
        op="shared_prefix", mode=mode, size=f"P={context} C={own} G={size}", inputs="random",
        dtype=str(network.dtype).removeprefix("torch."), sample=sample, sample_bytes=1 << 26,
        flops=times * (price.token * least.tokens + price.pair * least.pairs), bytes=0.0, truth=truth,
        check=lambda generator: sample(generator) | {"rows": rows(min(context, 256), min(own, 64), min(size, 4), 0)},
    )


# ------------------------------------------------------------------------------------------------- providers


def repeat(network: Any, sequences: Any) -> Tensor:
    """Every row whole."""
    layout = action_layout(sequences, 0)
    states = network.model(input_ids=layout.ids.to(network.device), use_cache=False).last_hidden_state
    return logprobs(network, layout.gather(states), sequences)


def ours(read: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """One of rrl's ways of reading groups."""
    return lambda network, sequences: logprobs(network, read(network.model, groups_of(sequences, 0)), sequences)


def logprobs(network: Any, states: Tensor, sequences: Any) -> Tensor:
    """The same plain head for everybody: what is compared is the reading."""
    logits = network.lm_head(states)
    log_p: Tensor = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return log_p.gather(1, sequences.actions.to(logits.device)[:, None])[:, 0]


def trl(network: Any, sequences: Any) -> Tensor:
    """The way of TRL's GRPO: every row whole, an attention mask, and TRL's chunked head on the completions."""
    ids = whole_rows(sequences).to(network.device)
    keep = int(sequences.lengths[0])
    states = network.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
    scored = states[:, -keep - 1 : -1].flatten(0, 1)
    return peers.trl(scored, network.lm_head.weight, ids[:, -keep:].flatten(), False)[0]


def prefix_grouper(network: Any, sequences: Any) -> Tensor:
    """Two attention calls a layer, of the context and of the continuations on it (arXiv 2506.05433)."""
    from prefix_grouper import PrefixGrouper
    from prefix_grouper.utils.register_transformers import register_attention
    from transformers import AttentionInterface

    register_attention()
    AttentionInterface.register("causal_to_the_end", causal_to_the_end)
    size, own = sequences.num_rows, int(sequences.lengths[0])
    ids = whole_rows(sequences).to(network.device)
    context, tails = ids[:1, :-own], ids[:, -own:]
    grouper = PrefixGrouper.from_ungrouped_masks(
        prefix_mask=torch.ones_like(context), suffix_mask=torch.ones_like(tails), group_sizes=size,
        padding_mode="right", device=network.device,
    )
    joined = grouper.concat_input(context, torch.ones_like(context), tails, torch.ones_like(tails))
    first = context.shape[1]
    positions = torch.cat([torch.arange(first), torch.arange(first, first + own).repeat(size)])[None]
    attention = network.config._attn_implementation
    network.config._attn_implementation = "prefix_grouper_attention"
    try:
        states = network.model(
            input_ids=joined, position_ids=positions.to(network.device), use_cache=False, prefix_grouper=grouper,
            prefix_grouper_attn_func="causal_to_the_end",
        ).last_hidden_state
    finally:
        network.config._attn_implementation = attention
    _, _, tail, _ = grouper.split_output(states, include_prefix_last=1)
    return logprobs(network, tail[:, :-1].flatten(0, 1), sequences)


def causal_to_the_end(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> Any:
    """sdpa as FlashAttention's causal flag has it: the last query sees the last key. Nothing is padded here."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    q, k = query.shape[2], key.shape[2]
    mask = None if q == k else torch.ones(q, k, dtype=torch.bool, device=query.device).tril(k - q)[None, None]
    return sdpa_attention_forward(module, query, key, value, mask, **options)


def whole_rows(sequences: Any) -> Tensor:
    """[N, P + C] token ids of rows of one length."""
    return torch.tensor([(*sequences.start_of(i).context, *sequences.tokens_of(i)) for i in range(sequences.num_rows)])


def provider(score: Callable[[Any, Any], Tensor]) -> Callable[[Sample], Outputs]:
    """Log-probs; in mode full also a gradient for every weight, of which the first layer's query is kept."""

    def call(s: Sample) -> Outputs:
        network = s["network"]
        if s["mode"] == "forward":
            with torch.no_grad():
                return {"logprob": score(network, s["rows"])}
        network.zero_grad(set_to_none=True)
        logprob = score(network, s["rows"])
        logprob.sum().backward()  # type: ignore[no-untyped-call]
        return {"logprob": logprob.detach(), "grad": network.model.layers[0].self_attn.q_proj.weight.grad.clone()}

    return call


PROVIDERS = [
    Provider(name="repeat", call=provider(repeat)),
    Provider(name="rrl kv_reuse", call=provider(ours(kv_reuse))),
    Provider(name="rrl tree_mask", call=provider(ours(tree_mask))),
    Provider(name="rrl flex", call=provider(ours(flex)), cuda_only=True),
    Provider(name="prefix-grouper", call=provider(prefix_grouper), package="prefix-grouper"),
    Provider(name="trl", call=provider(trl), package="trl"),
]
WORKS = {"rrl kv_reuse": cost.reused, "rrl tree_mask": cost.masked, "rrl flex": cost.blocked,
         "prefix-grouper": cost.reused, "repeat": cost.repeated, "trl": cost.repeated}  # fmt: skip


def ratios(network: Any, shape: tuple[int, int, int], measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a provider: time of repeat over its time, and the formula's ratio for it."""
    groups, price = groups_of(rows(*shape, 0), 0), cost.price_of(network.model)

    def work(name: str) -> float:
        of = WORKS[name](groups)
        return price.token * of.tokens + price.pair * (of.pairs + of.masked)  # the formula: every pair alike

    time = {row["provider"]: float(row["device_ms_p50"]) for row in measured}
    tokens = int(groups.context_lengths.sum()) + len(groups.row)
    return [
        {
            "mode": row["mode"], "size": row["size"], "provider": name,
            "formula_ratio": round(work("repeat") / work(name), 2),
            "measured_ratio": round(time["repeat"] / time[name], 2),
            "tokens_per_s": round(1000 * tokens / time[name]), "peak_mib": row["peak_mib"], "device": row["device"],
            "date": row["date"],
        }
        for row in measured
        for name in (row["provider"],)
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """(P, C, G) for a small model on a CPU, or for one of 1.5B on a GPU."""
    bench = start(__doc__ or "", arguments)
    cuda = bench.device.type == "cuda"
    network = model(bench.device)
    shapes = [(2048, 512, 8), (4096, 512, 8), (512, 512, 8)] if cuda else [(512, 64, 8), (256, 256, 8), (128, 32, 4)]
    table: list[dict[str, Any]] = []
    for shape in shapes:
        for mode in ("forward", "full"):
            new = ratios(network, shape, bench.run(case(network, mode, *shape), PROVIDERS))
            for row in new:
                print(f"  {row['provider']}: {row['measured_ratio']}x of {row['formula_ratio']}x", flush=True)
            table += new
            _write(bench.out.with_name(bench.out.stem + "_ratio.csv"), table)


def _write(path: Path, table: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
