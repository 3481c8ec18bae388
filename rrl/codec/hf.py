"""A pretrained model's own tokenizer and chat template: how a text task speaks to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from rrl.codec.tokenizer import TokenizerCodec, load_tokenizer
from rrl.starts import Tokens

log = logging.getLogger(__name__)


class HFCodec:
    """Prompts rendered by a chat template, or plain; responses end with a stop token.

    Args:
      name: model on the hub or folder; the policy's own, whose tokenizer it has to be.
      revision: branch, tag or commit on the hub.
      gguf_file: GGUF file in ``name`` that holds the tokenizer; null = none.
      trust_remote_code: see ``rrl.pretrained.load``.
      chat_template: "auto" = the tokenizer's template (plain text, said in the log, where it has none); "none" =
        plain text behind the tokenizer's own first token, for models that were not tuned to chat.
      system_prompt: what the template is given as the system's message; null = none of ours.
      template_arguments: further variables of the template, such as enable_thinking.
      stop: names of tokens that end a response, besides the tokenizer's end of sequence; the first of all is
        written behind demonstrations.
    Raises:
      ValueError: no name; a stop token that does not exist; a template that writes today's date; no stop token.
    """

    def __init__(
        self, *, name: str | None, revision: str | None, gguf_file: str | None, trust_remote_code: bool,
        chat_template: Literal["auto", "none"], system_prompt: str | None, template_arguments: dict[str, Any],
        stop: tuple[str, ...],
    ) -> None:
        if name is None:
            raise ValueError(
                "codec.name is null: this policy has no pretrained model whose tokenizer could be taken; expected "
                "policy=causal_lm, or codec=byte, or codec.name=<model on the hub or folder>"
            )
        self._tokenizer = load_tokenizer(
            name, revision or "main", gguf_file, trust_remote_code=trust_remote_code, key="codec.name"
        )
        self._codec = TokenizerCodec(self._tokenizer)
        self.pad, self.vocab_size, self.fingerprint = self._codec.pad, self._codec.vocab_size, self._codec.fingerprint
        self.reserved = tuple(str(token) for token in self._tokenizer.all_special_tokens)
        self._system_prompt, self._arguments = system_prompt, template_arguments
        self._templated = chat_template == "auto" and self._tokenizer.chat_template is not None
        self._check_template(name, chat_template)
        self.stop = self._stop(name, stop)
        beginning, ids = self._tokenizer.bos_token_id, self._tokenizer.encode("")
        self._first = (int(beginning),) if beginning is not None and beginning in ids else ()

    def prompt(self, text: str) -> Tokens:
        """The user's message ``text`` up to where the answer begins."""
        return self.conversation(text, [("user", text)])

    def conversation(self, transcript: str, turns: Sequence[tuple[str, str]]) -> Tokens:
        """Turns through the template, up to where the answer begins; the transcript itself where there is none."""
        if not self._templated:
            return self._first + self.encode(transcript)
        messages = [{"role": role, "content": text} for role, text in turns]
        if self._system_prompt is not None:
            messages = [{"role": "system", "content": self._system_prompt}, *messages]
        rendered = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self._arguments
        )
        return self.encode(rendered)  # the template writes the first token itself

    def encode(self, text: str) -> Tokens:
        return self._codec.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._codec.decode(tokens)

    def _check_template(self, name: str, chat_template: str) -> None:
        if chat_template == "auto" and not self._templated:
            log.warning("the tokenizer of %s has no chat template: prompts are plain text (codec.chat_template)", name)
        dated = self._templated and "strftime_now" in str(self._tokenizer.chat_template)
        if dated and "date_string" not in self._arguments:
            raise ValueError(
                f"the chat template of {name} writes today's date, so prompts would change overnight; expected a fixed "
                "one: +codec.template_arguments.date_string='26 Jul 2024', or codec.chat_template=none"
            )
        if self._system_prompt is not None and not self._templated:
            raise ValueError(
                f"codec.system_prompt is {self._system_prompt!r}, but prompts are plain text; expected null, or a "
                "model with a chat template and codec.chat_template=auto"
            )

    def _stop(self, name: str, wanted: Sequence[str]) -> Tokens:
        known = self._tokenizer.get_vocab()
        if missing := [token for token in wanted if token not in known]:
            raise ValueError(f"codec.stop has {missing[0]!r}, which is no token of {name}; expected its tokens")
        end = self._tokenizer.eos_token_id
        found = [*(int(known[token]) for token in wanted), *([] if end is None else [int(end)])]
        if not found:
            raise ValueError(f"codec.stop is empty and {name} has no end-of-sequence token; expected one or the other")
        return tuple(dict.fromkeys(found))
