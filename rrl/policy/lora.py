"""Low-rank adapters (LoRA; Hu et al., arXiv 2106.09685) on a frozen model, by ``peft``.

A *source* around another source: the model that it loads has adapters inside, everything else is frozen. What a copy
shares, what a checkpoint holds and how adapters are folded into weights is here; ``HFBackbone`` asks.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from rrl import rng
from rrl.policy.backbone import Codec
from rrl.policy.hf_source import Source

_MARK = "lora_"  # in the names of peft's LoRA weights


class Lora:
    """W x + (alpha / r) B A x in place of W x (2106.09685, section 4.1); A and B are trained, B = 0 at first.

    There is no dropout: a policy that samples and learns through different networks has no ratio of 1.

    Args:
      seed: names the initial A.
      base: where the model comes from; its weights stay as they are.
      r: rank, >= 1.
      alpha: >= 1; the update is scaled by alpha / r.
      target_modules: last parts of the names of the linear layers that get adapters; ("all-linear",) = all but the
        output layer.
    Raises:
      ValueError: numbers out of range; ``load``: no layer has such a name, or the output layer has.
    """

    def __init__(
        self, *, seed: int, base: Source, r: int, alpha: int, target_modules: tuple[str, ...]
    ) -> None:
        if r < 1 or alpha < 1 or not target_modules:
            raise ValueError(
                f"policy.backbone.source has r {r}, alpha {alpha}, target_modules {list(target_modules)}; expected "
                "r >= 1, alpha >= 1 and at least one name, or policy=causal_lm to train all weights"
            )
        self._seed, self._base, self._r, self._alpha, self._targets = seed, base, r, alpha, target_modules

    @property
    def fingerprint(self) -> str:
        return f"{self._base.fingerprint} lora r={self._r} alpha={self._alpha} {','.join(self._targets)}"

    def load(self) -> tuple[nn.Module, Codec]:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise ValueError("policy=lora needs the package peft: pip install 'rrl[models]'") from error
        model, codec = self._base.load()
        targets = self._targets[0] if self._targets == ("all-linear",) else list(self._targets)
        make: Any = LoraConfig  # says that alpha is an int; it is a factor
        config = make(r=self._r, lora_alpha=self._alpha, lora_dropout=0.0, target_modules=targets)
        with torch.random.fork_rng():  # peft draws A from the global generator
            torch.manual_seed(rng.torch_generator(self._seed, "lora_init").initial_seed())
            try:
                inject_adapter_in_model(config, model)
            except ValueError as error:
                raise ValueError(f"policy.backbone.source.target_modules is {list(self._targets)}: {error}") from error
        if is_adapted(model.get_output_embeddings()):  # type: ignore[operator]
            raise ValueError(
                f"policy.backbone.source.target_modules is {list(self._targets)}, which names the output layer; the "
                "house reads that layer's weight itself: expected layers of the decoder"
            )
        for name, weight in model.named_parameters():
            weight.requires_grad_(_MARK in name)
            if _MARK in name and weight.dtype in (torch.bfloat16, torch.float16):
                weight.data = weight.data.float()  # few, and Adam's small updates would vanish in half precision
        return model, codec

    def scratch(self, decoder: Any, *, num_layers: int, seed: int) -> nn.Module:
        return self._base.scratch(decoder, num_layers=num_layers, seed=seed)

    def decoder_of(self, name: str) -> nn.Module:
        return self._base.decoder_of(name)


def is_adapted(layer: Any) -> bool:
    """Whether ``layer`` is a linear layer with adapters around it."""
    return hasattr(layer, "get_base_layer") and hasattr(layer, "merge")


def has_adapters(module: nn.Module) -> bool:
    """Whether any layer below ``module`` has."""
    return any(is_adapted(layer) for layer in module.modules())


def copied(module: nn.Module) -> nn.Module:
    """A copy with weights of its own; with adapters, the frozen weights below them are shared: they never change."""
    shared = [p for name, p in module.named_parameters() if _MARK not in name] if has_adapters(module) else []
    return copy.deepcopy(module, {id(p): p for p in shared})


def merged(module: nn.Module) -> nn.Module:
    """``module``, its adapters folded into the weights below them: W + (alpha / r) B A. Changes ``module``."""
    for name, layer in list(module.named_modules()):
        if is_adapted(layer):
            adapted: Any = layer
            adapted.merge()
            place, _, last = name.rpartition(".")
            setattr(module.get_submodule(place), last, adapted.get_base_layer())
    return module


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """What a checkpoint holds: the adapters where there are any, else every weight."""
    state = module.state_dict()
    return {name: w for name, w in state.items() if _MARK in name} if has_adapters(module) else state


def load_weights(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """The inverse of ``weights_of``.

    Raises:
      ValueError: a checkpoint of another kind or size.
    """
    expected = weights_of(module).keys()
    if expected != state.keys():
        odd = sorted(expected ^ state.keys())
        raise ValueError(f"the weights have other names than this policy's, such as {odd[0]!r}; expected a checkpoint "
                         f"{'of adapters (policy=lora)' if has_adapters(module) else 'of all weights'}")
    module.load_state_dict(state, strict=not has_adapters(module))
