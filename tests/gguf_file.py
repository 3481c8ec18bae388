"""A real GGUF file that transformers loads: a Llama of two layers and the tokenizer of its 320 ids, some 30 KB."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.text import chat_tokenizer

WIDTH, LAYERS, HEADS, FF_WIDTH, POSITIONS = 32, 2, 2, 64, 512


def write_gguf(folder: Path, name: str = "tiny.gguf") -> Path:
    """Write it with the package gguf; its weights are a fixed draw."""
    import gguf

    folder.mkdir(parents=True, exist_ok=True)
    machine = json.loads(chat_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(machine["vocab"], key=machine["vocab"].get)
    writer = gguf.GGUFWriter(folder / name, "llama")
    writer.add_name("tiny")
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF_WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in machine["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    draw = np.random.default_rng(0)

    def put(tensor: str, *shape: int, kind: type = np.float32) -> None:
        values = np.ones(shape) if "norm" in tensor else draw.normal(size=shape) / 8
        writer.add_tensor(tensor, values.astype(kind))

    put("token_embd.weight", len(tokens), WIDTH, kind=np.float16)
    put("output_norm.weight", WIDTH)
    for n in range(LAYERS):
        for part in ("attn_norm", "ffn_norm"):
            put(f"blk.{n}.{part}.weight", WIDTH)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            put(f"blk.{n}.{part}.weight", WIDTH, WIDTH, kind=np.float16)
        for part in ("ffn_gate", "ffn_up"):
            put(f"blk.{n}.{part}.weight", FF_WIDTH, WIDTH, kind=np.float16)
        put(f"blk.{n}.ffn_down.weight", WIDTH, FF_WIDTH, kind=np.float16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / name
