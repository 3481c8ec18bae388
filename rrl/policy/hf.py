"""Any causal decoder of transformers behind the ``Backbone`` door.

``HFBackbone`` knows how to read and copy a model; a *source* (``rrl.policy.sources``) knows where it
comes from. transformers is imported inside functions only: it takes seconds, and policy=tiny never
needs it.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rrl.codec.tokenizer import TokenizerCodec
from rrl.ops.logprob import Head
from rrl.policy.backbone import Body, check_new_body
from rrl.policy.hf_source import Source
from rrl.policy.layout import Layout
from rrl.policy.lora import copied, load_weights, merged, weights_of
from rrl.policy.precision import products_of, read, set_products
from rrl.protocols import Task


class HFBody(Body):
    """A base model without head, called with a ``Layout``."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder, self.width = decoder, int(decoder.config.hidden_size)

    def forward(self, layout: Layout) -> Float[Tensor, "N T d"]:
        # Padding stands on the right and attention is causal, so no mask is needed, and none is the fast path.
        ids = layout.ids.to(next(self.decoder.parameters()).device)
        told = {"position_ids": layout.positions[None].to(ids.device)} if layout.restarts else {}
        got = read(self.decoder, input_ids=ids, use_cache=False, **told)
        return got.last_hidden_state  # type: ignore[no-any-return]


class HFBackbone:
    """A transformers decoder.

    Args:
      task: for the check that the model knows every token of it.
      source: where the model comes from.
      gradient_checkpointing: recompute activations in backward: less memory, about a third more time.
      mixed_precision: "bfloat16" = products in bfloat16, weights and optimizer in float32; None = the weights' dtype.
      device: "cpu", "cuda" or "auto" (cuda where there is one).
    Raises:
      ValueError: the task has more tokens than the model, or the model's logits are more than its
        output embedding of its last hidden state.
    """

    def __init__(
        self, *, task: Task, source: Source, gradient_checkpointing: bool, mixed_precision: str | None, device: str
    ) -> None:
        if device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"policy.backbone.device is {device!r}; expected cpu, cuda or auto")
        place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        model: Any
        model, self.codec = source.load()
        self.module: Any = model.to(place)
        self.config: Any = model.config
        self._source = source
        self.vocab_size, self.width = (int(n) for n in self.module.get_output_embeddings().weight.shape)
        self.max_positions = int(self.config.max_position_embeddings)
        self.fingerprint = f"hf {source.fingerprint} {self.config.to_json_string()}"
        self._body = HFBody(self.decoder)
        if task.vocab_size > self.vocab_size:
            raise ValueError(
                f"task {task.name!r} has {task.vocab_size} tokens, the model {self.vocab_size}; "
                "choose another policy or task"
            )
        if gradient_checkpointing:
            _checkpointing(self.module)
        self._check_head()
        set_products(self.decoder, mixed_precision)
        self._precision = mixed_precision
        self.fingerprint += f" {mixed_precision}" if mixed_precision else ""

    @property
    def decoder(self) -> nn.Module:
        """The base model: token ids in, hidden states out."""
        return self.module.base_model  # type: ignore[no-any-return]

    @property
    def body(self) -> HFBody:
        return self._body

    def head(self, logits_dtype: torch.dtype) -> Head:
        layer = self.module.get_output_embeddings()
        softcap = getattr(self.config, "final_logit_softcapping", None)  # Gemma's
        bias, dtype = getattr(layer, "bias", None), products_of(self.decoder) or layer.weight.dtype
        return Head(
            weight=layer.weight.to(dtype), bias=None if bias is None else bias.to(dtype), softcap=softcap,
            logits_dtype=logits_dtype,
        )

    def new_body(self, *, init: str, num_layers: int, seed: int) -> HFBody:
        made: Any
        if init not in ("scratch", "policy"):
            made = self._source.decoder_of(init)
            made = first_layers(made, check_new_body("policy", num_layers, int(made.config.num_hidden_layers)))
        else:
            num_layers = check_new_body(init, num_layers, int(self.config.num_hidden_layers))
            if init == "scratch":
                made = self._source.scratch(self.decoder, num_layers=num_layers, seed=seed)
            else:
                made = first_layers(merged(copy.deepcopy(self.decoder)), num_layers)
        set_products(made, self._precision)
        return HFBody(made.to(next(self.module.parameters()).device))

    def copy(self) -> HFBackbone:
        twin = copy.copy(self)
        twin.module = copied(self.module)
        twin._body = HFBody(twin.decoder)
        return twin

    def state_dict(self) -> dict[str, Tensor]:
        return weights_of(self.module)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_weights(self.module, state)

    def export(self, folder: Path) -> None:
        """Write model and tokenizer, where it has one, as transformers loads them; adapters go into the weights."""
        merged(copy.deepcopy(self.module)).save_pretrained(folder)  # type: ignore[operator]
        if isinstance(self.codec, TokenizerCodec):
            self.codec.save(folder)

    @torch.no_grad()
    def _check_head(self) -> None:
        """Refuse models that scale their logits: the house computes them as head(hidden), soft cap included."""
        ids = torch.arange(1, 4, device=next(self.module.parameters()).device)[None] % self.vocab_size
        theirs = self.module(input_ids=ids, use_cache=False).logits.float()
        hidden = self.decoder(input_ids=ids, use_cache=False).last_hidden_state[0]
        ours = self.head(hidden.dtype).logits(hidden)[None].float()
        if not theirs.isfinite().all():
            broken = [name for name, p in self.module.named_parameters() if not p.isfinite().all()]
            why = f"neither are its weights {', '.join(broken[:3])}{' and others' if len(broken) > 3 else ''}"
            raise ValueError(f"{type(self.module).__name__} gives logits that are not finite; "
                             + (why if broken else "its weights are, so they overflow (policy.dtype=float32)"))
        if not torch.allclose(theirs, ours, rtol=1e-3, atol=1e-3):
            raise ValueError(
                f"{type(self.module).__name__} changes its logits after the output embedding (a scale? up "
                f"to {float((theirs - ours).abs().max()):.3g}); expected logits = head(last hidden state), soft-capped "
                "where its config has final_logit_softcapping"
            )


def first_layers(decoder: Any, num_layers: int) -> nn.Module:
    """``decoder``, cut behind its first ``num_layers`` layers. Raises ValueError where they cannot be found."""
    if num_layers < int(decoder.config.num_hidden_layers):
        layers = getattr(decoder, "layers", None)
        if not isinstance(layers, nn.ModuleList):
            raise ValueError(f"{type(decoder).__name__} has no list named layers; use trunk num_layers=0 (all)")
        decoder.layers = layers[:num_layers]
        decoder.config = with_layers(decoder.config, num_layers)
    return decoder  # type: ignore[no-any-return]


def with_layers(config: Any, num_layers: int) -> Any:
    """A copy of a transformers config with another depth."""
    config = copy.deepcopy(config)
    types = getattr(config, "layer_types", None)
    if types is not None:
        config.layer_types = (types * num_layers)[:num_layers]
    config.num_hidden_layers = num_layers
    return config


def _checkpointing(module: Any) -> None:
    """transformers recomputes in training mode only, where dropout would break ratio = 1: so dropout goes to 0."""
    if hasattr(module, "activation_checkpointing_enable"):
        module.activation_checkpointing_enable({"use_reentrant": False})
    else:  # older transformers, where it has this name only
        module.gradient_checkpointing_enable({"use_reentrant": False})
    module.train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if hasattr(part, "attention_dropout"):
            part.attention_dropout = 0.0
