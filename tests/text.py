"""Text tasks without a network: the package's samples, and a small model whose tokenizer knows how to chat."""

from __future__ import annotations

from pathlib import Path

SAMPLES = "pkg://rrl.task.samples"

# Prompts of a few dozen bytes and short responses; a table of positions that holds both; nothing that needs one right
# response a problem, or easy problems beside hard ones.
SMALL_TEXT = [
    "task.prompt='{prompt}'", "task.max_response=96", "policy.backbone.max_positions=352", "problems=epoch",
    "evaluate=sampled", "evaluate.num_samples=2", "evaluate.k=2", "evaluate.max_problems=3", "run.token_budget=20000",
]  # fmt: skip


def sampled_by(name: str) -> list[str]:
    """Overrides that point a task at the samples ``name``_train and ``name``_heldout."""
    return [f"task.data.train=[{SAMPLES}/{name}_train.jsonl]", f"task.data.heldout=[{SAMPLES}/{name}_heldout.jsonl]"]


LONGER = ["task.max_response=256", "policy.backbone.max_positions=640"]

# What each text task cannot do without where there is no hub.
TEXT_TASKS = {
    "gsm8k": sampled_by("gsm8k"),
    "math": sampled_by("math"),
    "deepscaler": sampled_by("math"),
    # Rows without worked solutions: the answer alone stands for one.
    "dapo_math": [f"task.data.train=[{SAMPLES}/dapo_train.jsonl]", "task.num_heldout=5", "task.data.solution=solution"],
    "jsonl": [],
    "reasoning_gym": ["task.num_train=24", "task.num_heldout=8"],
    # Programs are longer than answers.
    "code": [*sampled_by("code"), *LONGER],
    # Room for the status, once in a prefix and once more.
    "code_status": [*sampled_by("code"), "task.max_response=256", "policy.backbone.max_positions=768"],
    "mbpp": [*sampled_by("mbpp"), *LONGER],
    "humaneval": [
        f"task.data.train=[{SAMPLES}/mbpp_train.jsonl]", f"task.data.heldout=[{SAMPLES}/humaneval_heldout.jsonl]",
        *LONGER,
    ],
}

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_llama(folder: Path, chat_template: str | None = CHAT, max_positions: int = 512) -> Path:
    """A two-layer random Llama with a byte-level tokenizer of 320 tokens and a chat template, in ``folder``."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=320, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=max_positions, tie_word_embeddings=True,
        initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    chat_tokenizer(chat_template).save_pretrained(folder)
    return folder


def chat_tokenizer(chat_template: str | None = CHAT, vocab_size: int = 320):
    """A byte-level BPE tokenizer, trained on a line of English: some words are one token, any text can be spelled."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = ["So the answer is that there are 12 of them. What is the sum? How many are left of the apples?"]
    tokenizer.train_from_iterator(
        text * 4, BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=chat_template
    )
