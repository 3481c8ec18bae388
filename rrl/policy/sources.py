"""Where a transformers model comes from: the hub or a folder, or the tiny decoder's own weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rrl import rng
from rrl.codec.tokenizer import TokenizerCodec, load_tokenizer
from rrl.policy.backbone import Codec
from rrl.policy.hf import with_layers
from rrl.policy.tiny import TinyBackbone
from rrl.pretrained import load
from rrl.protocols import SpeltTask, Task

_KEY = "policy.model"


class HubModel:
    """A model and its tokenizer from the hub, a local folder or a GGUF file.

    Args:
      task: one in words (``SpeltTask``) has to be spelt by this model's tokenizer; symbols of its own are plain ids.
      model: name on the hub, or a folder.
      revision: branch, tag or commit on the hub; pin a commit for numbers that are to be repeated.
      gguf_file: GGUF file in ``model`` with weights, config and tokenizer, dequantised while loading; null = none.
      trust_remote_code: see ``rrl.pretrained.load``; also for models that a critic begins from (``decoder_of``).
      dtype: "float32", "bfloat16", "float16" or "float64".
      attn_implementation: "sdpa", "eager", "flash_attention_2", ... (transformers' names).
    Raises:
      ValueError: dtype is not one of these; ``load``: the task is spelt by another tokenizer.
    """

    def __init__(
        self, *, task: Task, model: str, revision: str, gguf_file: str | None, trust_remote_code: bool, dtype: str,
        attn_implementation: str,
    ) -> None:
        if dtype not in ("float32", "bfloat16", "float16", "float64"):
            raise ValueError(f"policy.backbone.source.dtype is {dtype!r}; expected float{{16,32,64}} or bfloat16")
        self._model, self._revision, self._gguf_file = model, revision, gguf_file
        self._task, self._dtype, self._attention = task, dtype, attn_implementation
        self._trust = trust_remote_code

    @property
    def fingerprint(self) -> str:
        return f"{self._model}@{self._revision} {self._gguf_file or ''} {self._dtype}"

    def load(self) -> tuple[nn.Module, Codec]:
        from transformers import AutoModelForCausalLM

        if self._gguf_file is not None and importlib.util.find_spec("gguf") is None:
            raise ValueError("policy.backbone.source.gguf_file needs the package gguf: pip install 'rrl[models]'")
        _check_attention(self._attention)
        codec = self._codec()
        check_spelling(self._task, codec.fingerprint, self._model)
        model, report = load(
            AutoModelForCausalLM, self._model, key=_KEY, revision=self._revision, gguf_file=self._gguf_file,
            trust_remote_code=self._trust, dtype=getattr(torch, self._dtype), attn_implementation=self._attention,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"{_KEY} is {self._model!r}, which lacks the weights {missing[:3]}: they would be random; "
                             "expected a whole model")
        return model.eval(), codec

    def _codec(self) -> TokenizerCodec:
        return TokenizerCodec(load_tokenizer(
            self._model, self._revision, self._gguf_file, trust_remote_code=self._trust, key=_KEY
        ))

    def scratch(self, decoder: Any, *, num_layers: int, seed: int) -> nn.Module:
        with torch.random.fork_rng():  # transformers draws initial weights from the global generator
            torch.manual_seed(rng.torch_generator(seed, "trunk_init").initial_seed())
            body = type(decoder)(with_layers(decoder.config, num_layers))
        fresh: nn.Module = body.to(decoder.dtype).eval()
        return fresh

    def decoder_of(self, name: str) -> nn.Module:
        """The decoder of ``name`` (hub name, maybe with "@revision", or a folder), whatever head stands on it.

        Raises:
          ValueError: it cannot be loaded, it reads other ids than this model, or its states see later tokens.
        """
        from transformers import AutoModel

        model, _, revision = (name, "", "") if Path(name).is_dir() else name.partition("@")
        revision = revision or "main"
        try:
            codec = TokenizerCodec(load_tokenizer(model, revision, None, trust_remote_code=self._trust, key=_KEY))
            decoder: Any = load(
                AutoModel, model, key=_KEY, revision=revision, gguf_file=None, trust_remote_code=self._trust,
                dtype=getattr(torch, self._dtype), attn_implementation=self._attention,
            )
        except ValueError as error:
            raise ValueError(
                f"trunk init is {name!r}, neither scratch nor policy; as a model it cannot be loaded: {error}"
            ) from error
        own = self._codec()
        if codec.fingerprint != own.fingerprint or self._task.vocab_size > int(decoder.config.vocab_size):
            raise ValueError(f"trunk init is {name!r}, whose tokenizer is not that of {self._model!r}; expected a "
                             "model that reads the same ids")
        check_causal(decoder.eval(), name)
        return decoder  # type: ignore[no-any-return]


def _check_attention(name: str) -> None:
    """Refuse FlashAttention before gigabytes are loaded for it."""
    package = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}.get(name)
    if package is None:
        return
    said = f"policy.backbone.source.attn_implementation is {name}"
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{said} and the package {package} is not installed: pip install --no-build-isolation 'rrl[gpu]', which "
            "compiles it against the installed torch; or choose sdpa"
        )
    if not torch.cuda.is_available():
        raise ValueError(f"{said} and torch sees no GPU, which it needs; choose sdpa")


class TinyLlama:
    """``LlamaForCausalLM`` with the weights that policy=tiny has for the same seed; arguments as there."""

    def __init__(
        self, *, seed: int, task: Task, width: int, num_layers: int, num_heads: int, ff_width: int, max_positions: int,
        rope_base: float, norm_eps: float, embedding_std: float, linear_gain: float, dtype: str,
    ) -> None:
        self._tiny = TinyBackbone(
            seed=seed, task=task, width=width, num_layers=num_layers, num_heads=num_heads, ff_width=ff_width,
            max_positions=max_positions, rope_base=rope_base, norm_eps=norm_eps, embedding_std=embedding_std,
            linear_gain=linear_gain, dtype=dtype,
        )

    @property
    def fingerprint(self) -> str:
        return self._tiny.fingerprint

    def load(self) -> tuple[nn.Module, Codec]:
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = self._tiny.shape
        arguments: dict[str, Any] = {"attn_implementation": "sdpa"}  # read by every config, declared by none
        config = LlamaConfig(
            vocab_size=shape.vocab_size, hidden_size=shape.width, intermediate_size=shape.ff_width,
            num_hidden_layers=shape.num_layers, num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_heads, max_position_embeddings=shape.max_positions,
            rms_norm_eps=shape.norm_eps, rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
            tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=self._tiny.codec.pad,
            **arguments,
        )
        model: Any = LlamaForCausalLM(config)
        model = model.to(shape.torch_dtype)
        model.load_state_dict(self._tiny.module.state_dict())
        return model.eval(), self._tiny.codec

    def scratch(self, decoder: Any, *, num_layers: int, seed: int) -> nn.Module:
        body: nn.Module = type(decoder)(with_layers(decoder.config, num_layers)).to(decoder.dtype)
        body.load_state_dict(self._tiny.new_body(init="scratch", num_layers=num_layers, seed=seed).state_dict())
        return body.eval()

    def decoder_of(self, name: str) -> nn.Module:
        raise ValueError(f"trunk init is {name!r}; expected scratch or policy: this family of tiny models has no "
                         "pretrained ones; a model's name needs policy=causal_lm with source HubModel")


@torch.no_grad()
def check_causal(decoder: nn.Module, name: str) -> None:
    """Refuse encoders: rows are padded on the right without a mask. Raises ValueError."""
    one, other = (decoder(input_ids=torch.tensor([[1, 2, last]])).last_hidden_state[0, :2] for last in (1, 3))
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3):
        raise ValueError(f"trunk init is {name!r}, whose states see later tokens; expected a causal decoder")


def check_spelling(task: Task, fingerprint: str, model: str) -> None:
    """Refuse a task in words whose ids this model would read as other words. Raises ValueError."""
    if isinstance(task, SpeltTask) and task.codec.fingerprint != fingerprint:
        raise ValueError(
            f"task {task.name!r} is spelt by a {type(task.codec).__name__} whose ids are not those of the tokenizer of "
            f"policy.backbone.source.model {model!r}; expected codec=hf (codec.name, revision and gguf_file follow the "
            "policy), or policy=tiny with codec=byte"
        )
