"""A Llama-style decoder small enough for one CPU thread, written out in full.

Parameter names are those of ``LlamaForCausalLM`` of transformers, so a state dict loads there and
gives the same logits. RMSNorm (Zhang and Sennrich 2019), RoPE (Su et al. 2021, arXiv 2104.09864),
SwiGLU (Shazeer 2020, arXiv 2002.05202), untied head, no biases. Legend: N rows, T columns, d width,
H heads, D head size, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rrl import rng
from rrl.capacity import check_room
from rrl.ops.logprob import Head
from rrl.policy.backbone import Body, check_new_body
from rrl.policy.layout import Layout
from rrl.protocols import Task

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class TinyShape:
    """Sizes and initial scales of one decoder; every field is a key of policy.backbone (vocab_size: the task's)."""

    vocab_size: int
    width: int
    num_layers: int
    num_heads: int
    ff_width: int
    max_positions: int
    rope_base: float
    norm_eps: float
    embedding_std: float
    linear_gain: float
    dtype: str

    def __post_init__(self) -> None:
        for name in ("width", "num_layers", "num_heads", "ff_width", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"policy.backbone.{name} is {getattr(self, name)}; expected >= 1")
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"policy.backbone.width is {self.width} with num_heads {self.num_heads}; "
                "expected a multiple of 2 * num_heads, for RoPE turns pairs"
            )
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"policy.backbone.dtype is {self.dtype!r}; expected float32 or float64")

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads

    @cached_property
    def torch_dtype(self) -> torch.dtype:
        return torch.float32 if self.dtype == "float32" else torch.float64


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps), times a weight per channel."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width, dtype=shape.torch_dtype))
        self._eps = shape.norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self._eps)


class Attention(nn.Module):
    """Causal self-attention of rows that all begin in column 0."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self._heads, self._head_size = shape.num_heads, shape.head_size
        width = shape.width
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (_linear(shape, width, width) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        num, columns, width = x.shape
        # One product instead of three: at these sizes an operation's start costs more than its work.
        weight = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        qk, v = torch.split(F.linear(x, weight), [2 * width, width], dim=-1)
        qk = rotate(qk.view(num, columns, 2 * self._heads, self._head_size).transpose(1, 2), cos, sin)
        q, k = qk.chunk(2, dim=1)
        v = v.view(num, columns, self._heads, self._head_size).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(mixed.transpose(1, 2).reshape(num, columns, width), self.o_proj.weight)


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self.gate_proj = _linear(shape, shape.width, shape.ff_width)
        self.up_proj = _linear(shape, shape.width, shape.ff_width)
        self.down_proj = _linear(shape, shape.ff_width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = F.linear(x, self.gate_proj.weight), F.linear(x, self.up_proj.weight)
        return F.linear(F.silu(gate) * up, self.down_proj.weight)


class Layer(nn.Module):
    """Attention, then MLP, each on the normed stream and added to it."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(shape), RMSNorm(shape)
        self.self_attn, self.mlp = Attention(shape), MLP(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class TinyBody(Body):
    """Embedding, layers, final norm: a ``Layout`` in, hidden states [N, T, d] out."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self.shape, self.width = shape, shape.width
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.width, dtype=shape.torch_dtype)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_layers))
        self.norm = RMSNorm(shape)
        cos, sin = rope_tables(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, layout: Layout) -> Float[Tensor, "N T d"]:
        if layout.ids.shape[1] > self.shape.max_positions:
            raise ValueError(
                f"a row has {layout.ids.shape[1]} tokens; expected at most policy.backbone.max_positions = "
                f"{self.shape.max_positions}"
            )
        x = self.embed_tokens(layout.ids)
        cos, sin = self.cos[layout.positions], self.sin[layout.positions]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)  # type: ignore[no-any-return]


class TinyLM(nn.Module):
    """Body and head under LlamaForCausalLM's parameter names."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self.model = TinyBody(shape)
        self.lm_head = _linear(shape, shape.width, shape.vocab_size)


class TinyBackbone:
    """The house's own decoder behind the ``Backbone`` door; see ``TinyShape`` for the arguments."""

    def __init__(
        self, *, seed: int, task: Task, width: int, num_layers: int, num_heads: int, ff_width: int, max_positions: int,
        rope_base: float, norm_eps: float, embedding_std: float, linear_gain: float, dtype: str,
    ) -> None:
        self.shape = TinyShape(
            vocab_size=task.vocab_size, width=width, num_layers=num_layers, num_heads=num_heads, ff_width=ff_width,
            max_positions=max_positions, rope_base=rope_base, norm_eps=norm_eps, embedding_std=embedding_std,
            linear_gain=linear_gain, dtype=dtype,
        )
        sizes = {f"policy.backbone.{name}": size for name, size in asdict(self.shape).items()}
        check_room(4 * _num_bytes(self.shape), "the policy with its gradient and Adam's moments", sizes)
        self.codec = task
        self.width, self.vocab_size, self.max_positions = width, task.vocab_size, max_positions
        self.fingerprint = f"tiny {self.shape}"
        self.module = initialised(TinyLM(self.shape), self.shape, rng.torch_generator(seed, "policy_init"))

    @property
    def body(self) -> TinyBody:
        return self.module.model

    def head(self, logits_dtype: torch.dtype) -> Head:
        return Head(weight=self.module.lm_head.weight, bias=None, softcap=None, logits_dtype=logits_dtype)

    def new_body(self, *, init: str, num_layers: int, seed: int) -> TinyBody:
        shape = replace(self.shape, num_layers=check_new_body(init, num_layers, self.shape.num_layers))
        body = initialised(TinyBody(shape), shape, rng.torch_generator(seed, "trunk_init"))
        if init == "policy":
            mine = self.body.state_dict()
            body.load_state_dict({name: mine[name] for name in body.state_dict()})
        return body

    def copy(self) -> TinyBackbone:
        twin = object.__new__(TinyBackbone)
        twin.__dict__.update(self.__dict__)
        twin.module = TinyLM(self.shape)
        twin.module.load_state_dict(self.module.state_dict())
        return twin

    def state_dict(self) -> dict[str, Tensor]:
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.module.load_state_dict(state)


def _num_bytes(shape: TinyShape) -> int:
    """Of all weights and the RoPE tables."""
    layer = 4 * shape.width**2 + 3 * shape.width * shape.ff_width + 2 * shape.width
    numbers = 2 * shape.vocab_size * shape.width + shape.num_layers * layer + shape.width
    return (numbers + 2 * shape.max_positions * shape.head_size) * shape.torch_dtype.itemsize


def rope_tables(shape: TinyShape) -> tuple[Float[Tensor, "P D"], Float[Tensor, "P D"]]:
    """cos and sin of position * base^(-2i/D), each half of the head twice (the Llama pairing i, i + D/2)."""
    frequency = shape.rope_base ** (-torch.arange(0, shape.head_size, 2, dtype=torch.float64) / shape.head_size)
    angle = torch.outer(torch.arange(shape.max_positions, dtype=torch.float64), frequency).repeat(1, 2)
    return angle.cos().to(shape.torch_dtype), angle.sin().to(shape.torch_dtype)


def rotate(x: Float[Tensor, "... D"], cos: Float[Tensor, "T D"], sin: Float[Tensor, "T D"]) -> Float[Tensor, "... D"]:
    """Turn each pair (x_i, x_{i + D/2}) by its position's angle (RoPE, eq. 34 in Llama's pairing)."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def initialised(module: M, shape: TinyShape, generator: torch.Generator) -> M:
    """Normal weights: embedding_std for the embedding, linear_gain / sqrt(fan in) elsewhere, norms at 1.

    Drawn in float64 whatever the dtype, so float32 and float64 models begin alike.
    """
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim == 2:
                std = shape.embedding_std if "embed_tokens" in name else shape.linear_gain / math.sqrt(weight.shape[1])
                weight.copy_(std * torch.randn(weight.shape, dtype=torch.float64, generator=generator))
    return module


def _linear(shape: TinyShape, fan_in: int, fan_out: int) -> nn.Linear:
    return nn.Linear(fan_in, fan_out, bias=False, dtype=shape.torch_dtype)
