"""Hydra's own part of a config builds objects as well: callbacks, logging, launchers. It is checked as ours is.

Hydra builds them before our code runs, out of whatever was composed: an experiment or a sweep of a colleague's folder
may carry a ``hydra:`` node. There is no hook between composing and building (callbacks are part of what is composed),
so ``watched`` stands around Hydra's method that composes.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from rrl.targets import VARIABLE

_PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")  # and of these Hydra builds what is installed as one
_CALLBACKS = ("rrl.sweep.outcome.Outcome", "rrl.report.callback.MultirunReport",
              "hydra.experimental.callbacks.LogJobReturnCallback", "hydra.experimental.callbacks.PickleJobInfoCallback")
_LOGGING = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter",
            "logging.handlers.RotatingFileHandler", "colorlog.ColoredFormatter", "rich.logging.RichHandler",
            "rrl.terminal.Lines", "rrl.terminal.Words")
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
_INSIDE = re.compile(r"\$\{(?!hydra[.:]|now:|oc\.env:)")  # what may come out as anything, a node with a target too
_FILE = re.compile(r"\$\{hydra\.(runtime\.output_dir|sweep\.dir)\}/[\w.-]*(\$\{hydra\.job\.name\}[\w.-]*)?")
_HARMLESS_ENV = re.compile(r"(OMP|MKL|CUDA|NCCL|TOKENIZERS|TORCH)_[A-Z0-9_]+")  # no LD_, PYTHON, RRL_, no hosts


@contextmanager
def watched() -> Iterator[None]:
    """Meanwhile, a config that would have Hydra build what nobody vouched for, or nests without end, is a ValueError
    where it is composed."""
    composed = ConfigLoaderImpl.load_configuration

    @functools.wraps(composed)
    def checked(self: Any, *arguments: Any, **named: Any) -> DictConfig:
        try:
            cfg = composed(self, *arguments, **named)
        except RecursionError as error:
            raise ValueError("a config file or an override nests too deeply; expected a few levels") from error
        check(OmegaConf.to_container(cfg, resolve=False).get("hydra"))  # type: ignore[union-attr]
        return cfg

    setattr(ConfigLoaderImpl, "load_configuration", checked)  # noqa: B010  (mypy knows methods as constants)
    try:
        yield
    finally:
        setattr(ConfigLoaderImpl, "load_configuration", composed)  # noqa: B010


def check(node: Any) -> None:
    """Raise ValueError, by key, where Hydra's part of a config (a plain dict, unresolved) names what is not allowed."""
    if not isinstance(node, dict):
        raise ValueError(f"hydra is {node!r}; expected Hydra's own keys")
    allowed = {"callbacks": (_CALLBACKS, 1), "launcher": (_PLUGINS, 0), "sweeper": (_PLUGINS, 0)}
    for part, child in node.items():
        _check_targets(child, f"hydra.{part}", *allowed.get(part, ((), -1)))
    for part in ("job_logging", "hydra_logging"):
        _check_logging(node.get(part), f"hydra.{part}")
    job = node.get("job")
    for name in (job.get("env_set") or {}) if isinstance(job, dict) else {}:
        if not _HARMLESS_ENV.fullmatch(str(name)):
            raise ValueError(f"hydra.job.env_set.{name} is not set by a config; set it in the shell: only OMP_, MKL_, "
                             "CUDA_, NCCL_, TOKENIZERS_ and TORCH_ variables may be set there")


def _check_targets(node: Any, key: str, allowed: tuple[str, ...], depth: int) -> None:
    """allowed: what may stand ``depth`` mappings below ``node``; nothing may anywhere else."""
    if isinstance(node, dict):
        here = allowed if depth == 0 else ()
        if "_target_" in node and not _vouched(node["_target_"], here):
            raise ValueError(f"{key}._target_ is {node['_target_']!r}, which Hydra is not let build: expected "
                             f"{' or '.join(f'{a}*' if a.endswith('.') else a for a in here) or 'none here'}; to let "
                             f"your own package in, set the environment variable {VARIABLE}")
        for name, child in node.items():
            _check_targets(child, f"{key}.{name}", allowed, depth - 1)
    elif isinstance(node, list):
        for place, child in enumerate(node):
            _check_targets(child, f"{key}[{place}]", (), -1)
    elif isinstance(node, str) and allowed and _INSIDE.search(node):
        raise ValueError(f"{key} is {node!r}; expected a value, or ${{hydra.*}}: Hydra builds what stands there")


def _check_logging(node: Any, key: str) -> None:
    """Python's ``logging.config`` imports and calls what stands under ``class`` and ``()``, and behind ``ext://``."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name in ("class", "()") and not _vouched(child, _LOGGING):
                raise ValueError(f"{key}.{name} is {child!r}, which logging is not let build: expected one of "
                                 f"{', '.join(_LOGGING)}; to let your own package in, set the environment variable "
                                 f"{VARIABLE}")
            if name != "filename":
                _check_logging(child, f"{key}.{name}")
            elif not isinstance(child, str) or not _FILE.fullmatch(child):
                raise ValueError(f"{key}.filename is {child!r}; expected a name in ${{hydra.runtime.output_dir}}/")
    elif isinstance(node, list):
        for place, child in enumerate(node):
            _check_logging(child, f"{key}[{place}]")
    elif isinstance(node, str) and ("ext:" in node and node not in _STREAMS or "${" in node):
        raise ValueError(f"{key} is {node!r}; expected a plain value, or {' or '.join(_STREAMS)}")


def _vouched(target: Any, allowed: tuple[str, ...]) -> bool:
    """Names that end in a dot are beginnings. What the user vouches for may stand wherever something may."""
    own = [f"{name.strip().rstrip('.')}." for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return isinstance(target, str) and any(
        target.startswith(name) if name.endswith(".") else target == name for name in (*allowed, *own)
    )
