"""Configs out of files that runs leave behind, which may be somebody else's: a checkpoint's, an evaluation's.

They were resolved when they were written, so their text is taken as it stands: ``${oc.env:TOKEN}`` in one would carry a
secret of this machine into records and trackers. And what runs a stranger's code outside any wall must be asked for by
whoever goes on with it, not by the file: code in a model's folder, programs without a sandbox, modules of a folder.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rrl.reading import yaml_of

VARIABLE = "RRL_TRUST_REMOTE_CODE"
"""Environment variable: 1 = configs of checkpoints may do what ``RUNS_CODE`` lists."""

RUNS_CODE = {"trust_remote_code": "code in a model's folder or repository", "unsafe": "programs without a sandbox",
             "package_paths": "modules of other folders"}  # fmt: skip
"""Last part of a key -> what it lets run where its value is not false or empty."""

_META: dict[str, tuple[type, ...]] = {
    "config": (dict,), "settings": (dict,), "measured": (dict,), "step": (int,), "sampled_tokens": (int,),
    "seconds": (float, int),
}  # fmt: skip
_MOST_NODES = 100_000  # of a config; a real one has hundreds, and YAML's aliases can spell billions in a few lines
_DEPTH = 40  # a real one has eight


def check_meta(meta: Mapping[str, Any], where: str) -> None:
    """Raise ValueError where what is said about a checkpoint is of another kind than a run writes."""
    for name, kinds in _META.items():
        value = meta.get(name, kinds[0]())
        ok = isinstance(value, kinds) and not isinstance(value, bool)
        if not ok or not (isinstance(value, dict) or math.isfinite(value) and abs(value) < 2**63):
            raise ValueError(f"{where}: meta.json has {name} {str(value)[:40]!r}; expected "
                             f"{'keys and values' if kinds == (dict,) else 'a number that a run can have'}")


def config_of(meta: Mapping[str, Any], folder: Path, granted: Collection[str] = ()) -> DictConfig:
    """The config of the run that made a checkpoint, out of what is said about it; see ``from_plain``."""
    if "config" not in meta:
        raise ValueError(f"checkpoint {str(folder)!r} has no config; expected one that rrl-train wrote")
    return from_plain(meta["config"], f"checkpoint {str(folder)!r}", granted)


def from_plain(plain: Any, where: str, granted: Collection[str] = ()) -> DictConfig:
    """A stored config as a config.

    Args:
      plain: what stood in the file.
      where: the file, for messages.
      granted: keys of ``RUNS_CODE`` kind that are given on this command line, too.
    Raises:
      ValueError: it is no mapping of texts, is absurdly deep or large, or lets strangers' code run.
    """
    if not isinstance(plain, Mapping):
        raise ValueError(f"{where}: config is a {type(plain).__name__}; expected keys and values, as rrl-train writes "
                         "them")
    asked = [key for key, value in _leaves(plain, where) if _runs_code(key, value) and key not in granted]
    if asked and os.environ.get(VARIABLE) != "1":
        what = RUNS_CODE[asked[0].rpartition(".")[2]]
        raise ValueError(f"{where}: its config has {asked[0]}, which runs {what} on this machine; a file does not "
                         f"decide that: if you trust whoever made it, set {VARIABLE}=1")
    made = OmegaConf.create(_literal(plain))
    assert isinstance(made, DictConfig)
    return made


def from_yaml(path: Path) -> DictConfig:
    """The config in a YAML that a command of ours wrote. Raises ValueError as ``from_plain`` does."""
    try:
        plain = yaml_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read ({' '.join(str(error).split())}); expected YAML without tags, "
                         "as a command of ours writes it") from error
    return from_plain(plain, str(path))


def running_code(plain: Any) -> list[str]:
    """The keys of a config that let strangers' code run, for records: ["policy.trust_remote_code"].

    Args:
      plain: dicts and lists, resolved.
    """
    return [key for key, value in _leaves(plain, "config") if _runs_code(key, value)]


def _runs_code(key: str, value: Any) -> bool:
    return key.rpartition(".")[2] in RUNS_CODE and bool(value)


def _leaves(plain: Any, where: str) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything but mappings; lists are leaves, and looked into as well."""
    seen, todo = 0, [(plain, "", 0)]
    while todo:
        node, key, depth = todo.pop()
        seen += 1
        if seen > _MOST_NODES or depth > _DEPTH:
            raise ValueError(f"{where}: config is absurdly {'deep' if depth > _DEPTH else 'large'}, below {key[:40]!r}")
        if isinstance(node, Mapping):
            if odd := [name for name in node if not isinstance(name, str)]:
                raise ValueError(f"{where}: config has the key {odd[0]!r} in {key or 'it'!r}; expected text")
            todo += [(child, f"{key}.{name}".lstrip("."), depth + 1) for name, child in node.items()]
            continue
        yield key, node
        if isinstance(node, (list, tuple)):
            todo += [(child, f"{key}.{place}", depth + 1) for place, child in enumerate(node)]


def _literal(node: Any) -> Any:
    """With every text such that OmegaConf reads it as it stands."""
    if isinstance(node, Mapping):
        return {name: _literal(child) for name, child in node.items()}
    if isinstance(node, (list, tuple)):
        return [_literal(child) for child in node]
    if isinstance(node, str) and "${" in node:
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", node)
    return node


def plain_config(cfg: DictConfig) -> dict[str, Any]:
    """Dicts and lists, everything resolved."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}
