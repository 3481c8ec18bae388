"""Sampling from the tiny decoder: a static key-value cache and a handful of operations a token.

All rows begin at position 0 and move together, whatever their context lengths: up to the shortest
context they are read in one pass; from there on a row that still has context is *forced* to its own
next token, while the others sample. So mixed prefix lengths need no padding logic and no mask.
Legend: N rows, B columns read at once, P positions, d width, H heads, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rrl.policy.backbone import Backbone
from rrl.policy.engine.draw import draw
from rrl.policy.engine.environment import Hearing
from rrl.policy.engine.request import Request, Sampled
from rrl.policy.layout import pad_right
from rrl.policy.tiny import Layer, TinyBackbone


class TinyEngine:
    """The engine of policy=tiny."""

    def __init__(self) -> None:
        pass

    @torch.inference_mode()
    def sample(self, backbone: Backbone, request: Request) -> Sampled:
        """Rows end at a stop token or at their limit.

        Raises:
          ValueError: the backbone is not the house's own.
        """
        if not isinstance(backbone, TinyBackbone):
            raise ValueError(f"policy.engine is TinyEngine, the backbone a {type(backbone).__name__}; use HFEngine")
        forced, first = pad_right(request.contexts, pad=0)
        num_rows, most = len(first), request.observer.most if request.observer else 0
        end = first + request.limits
        num_positions = int(end.max()) + most
        if most:
            forced = F.pad(forced, (0, num_positions - forced.shape[1]))
        sampling = torch.arange(num_positions) >= first[:, None]  # where a row decides for itself
        uniforms = _by_position(request.uniforms, first, num_positions)
        tokens = torch.zeros(num_rows, num_positions, dtype=torch.int64)
        logprob, entropy = torch.zeros(num_rows, num_positions), torch.zeros(num_rows, num_positions)
        rows, may_stop = torch.arange(num_rows), bool(request.stop_table.any())
        stopped = torch.zeros(num_rows, dtype=torch.bool)

        head, decoder = backbone.head(request.logits_dtype), _Decoder(backbone, num_rows, num_positions)
        hearing = Hearing(request.observer, num_rows)
        shortest = int(first.min())
        hidden = decoder.read(forced[:, :shortest], 0)
        for position in range(shortest, num_positions):
            token, logprob[:, position], entropy[:, position] = draw(
                head.logits(hidden), uniforms[:, position], request.temperature, request.greedy
            )
            if position < forced.shape[1]:
                token = torch.where(sampling[:, position], token, forced[:, position])
            tokens[:, position] = token
            if may_stop:
                hit = request.stops(rows, token) & sampling[:, position] & (position < end)
                end = torch.where(hit, position + 1, end)
                stopped |= hit
            if most:
                asked = torch.nonzero(sampling[:, position] & (position < end)).flatten()
                heard = hearing.after(asked, token[asked], (end > position + 1)[asked])
                for row, said in zip(asked.tolist(), heard, strict=True):
                    if said:  # the row's later tokens, their noise with them, move back
                        here = slice(position + 1, position + 1 + len(said))
                        forced[row, here], sampling[row, here] = torch.tensor(said), False
                        uniforms[row, here.stop :] = uniforms[row, position + 1 : -len(said)].clone()
                        end[row] += len(said)
            if (may_stop or most) and int(end.max()) <= position + 1:
                break
            if position + 1 < num_positions:
                hidden = decoder.read(token[:, None], position)
        own = sampling & (torch.arange(num_positions) < end[:, None])
        counts = own.sum(1)
        tokens, logprob, entropy = tokens[own], logprob[own], entropy[own]
        given, given_offsets = hearing.flat(counts)
        # A tensor made in inference mode may never enter a graph; copies made outside it may.
        with torch.inference_mode(False):
            return Sampled(
                tokens=tokens.clone(), logprob=logprob.clone(), entropy=entropy.clone(), counts=counts.clone(),
                stopped=stopped.clone(), given=given.clone(), given_offsets=given_offsets.clone(),
            )


def _by_position(uniforms: Tensor, first: Tensor, num_positions: int) -> Tensor:
    """Noise [N, P] of the token that each position decides; 0 where nothing is sampled."""
    num_rows, width = uniforms.shape
    table = torch.zeros(num_rows, num_positions + width, dtype=torch.float64)
    return table.scatter_(1, first[:, None] + torch.arange(width), uniforms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """One layer, with its norms folded into the products that follow them and q, k, v, and the
    quarter-turned q and k that RoPE needs, side by side; transposed for ``x @ w``."""

    attention_in: Tensor
    attention_out: Tensor
    mlp_in: Tensor
    mlp_out: Tensor


class _Decoder:
    """Keys and values of what the rows have read so far, without gradient."""

    def __init__(self, backbone: TinyBackbone, num_rows: int, num_positions: int) -> None:
        body, shape = backbone.body, backbone.shape
        self._embedding, self._norm, self._eps = body.embed_tokens.weight, body.norm.weight, shape.norm_eps
        self._heads, self._head_size = shape.num_heads, shape.head_size
        # cos and sin of q and k together: [P, 2 d].
        self._cos, self._sin = (t[:num_positions].repeat(1, 2 * shape.num_heads) for t in (body.cos, body.sin))
        self._layers = [_folded(layer, shape.head_size) for layer in body.layers]  # type: ignore[arg-type]
        size = (shape.num_layers, 2, num_rows, shape.num_heads, num_positions, shape.head_size)
        self._cache = torch.zeros(size, dtype=shape.torch_dtype)

    def read(self, ids: Tensor, position: int) -> Tensor:
        """Append columns [N, B], the first at ``position``; the last column's hidden state [N, d]."""
        num_rows, columns = ids.shape
        width, end = self._norm.shape[0], position + columns
        cos, sin = self._cos[position:end], self._sin[position:end]
        x = self._embedding[ids.flatten()]
        for weights, (keys, values) in zip(self._layers, self._cache, strict=True):
            product = self._normed(x) @ weights.attention_in
            mixed = product.view(num_rows, columns, -1)
            qk = torch.addcmul(mixed[..., : 2 * width] * cos, mixed[..., 2 * width : 4 * width], sin)
            qkv = torch.cat([qk, mixed[..., 4 * width :]], -1)
            q, k, v = qkv.view(num_rows, columns, 3, self._heads, self._head_size).permute(2, 0, 3, 1, 4)
            keys[:, :, position:end], values[:, :, position:end] = k, v
            # One new column sees all of the cache; several are only read at position 0, where causal is square.
            seen = F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end], is_causal=columns > 1)
            x = torch.addmm(x, seen.transpose(1, 2).reshape(-1, width), weights.attention_out)
            gate, up = (self._normed(x) @ weights.mlp_in).chunk(2, -1)
            x = torch.addmm(x, F.silu(gate) * up, weights.mlp_out)
        return self._normed(x.view(num_rows, columns, width)[:, -1]) * self._norm

    def _normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self._norm.shape, None, self._eps)


def _folded(layer: Layer, head_size: int) -> _Weights:
    attention, mlp = layer.self_attn, layer.mlp
    qk = torch.cat([attention.q_proj.weight, attention.k_proj.weight])
    left, right = qk.view(-1, 2, head_size // 2, qk.shape[1]).unbind(1)
    turned = torch.stack([-right, left], 1).view_as(qk)
    attention_in = torch.cat([qk, turned, attention.v_proj.weight]) * layer.input_layernorm.weight
    mlp_in = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight
    return _Weights(
        attention_in=attention_in.T.contiguous(), attention_out=attention.o_proj.weight.T.contiguous(),
        mlp_in=mlp_in.T.contiguous(), mlp_out=mlp.down_proj.weight.T.contiguous(),
    )
