"""What token ids mean: prefixes are ids, and ids of another tokenizer or template are other words."""

from __future__ import annotations

from rrl.protocols import SpeltTask, Task
from rrl.types import prefix_key


def spelling_of(task: Task) -> str:
    """Changes with the tokenizer or the prompt's template; for a task of its own symbols with their number."""
    if not isinstance(task, SpeltTask):
        return f"{task.name}: {task.vocab_size} symbols"
    codec = task.codec
    return f"{codec.fingerprint}: a prompt as {prefix_key(codec.fingerprint, codec.prompt('x'))}"


def check_spelling(stored: str, ours: str) -> None:
    """Raises ValueError where a store was written in another spelling."""
    if stored != ours:
        raise ValueError(
            f"its prefixes are spelled {stored!r}, this run spells {ours!r}: another tokenizer, chat template or set "
            "of symbols; expected the codec that the store was filled with, or a new run"
        )
