"""How the commands answer a wrong command line: one line on stderr with key, value and choices, exit code 1.

Hydra's own reports have many lines, or a traceback, and seldom the choices; ``--debug`` shows all of it besides.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers.oc import env as oc_env
from yaml import YAMLError

from rrl import debug
from rrl.hydra_node import watched
from rrl.terminal import open_streams

_NESTED = 60  # brackets of one argument; Hydra's parser needs some ten calls for each, and Python allows a thousand
_SECRET = re.compile(r"key|token(?!iz)|secret|passw|credential|netrc", re.IGNORECASE)
_NONE = object()


def speak(program: str, command: Callable[[], Any], config_name: str) -> None:
    """Run a Hydra command; what is wrong with its command line, or with a config file, becomes one line.

    Args:
      program: as it is typed, such as rrl-train.
      command: the function that ``hydra.main`` decorated.
      config_name: its primary config, whose keys are the choices.
    """
    open_streams()
    sys.argv[1:] = argv = debug.taken()
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing
    guard_secrets()
    try:
        check_choices(argv)
        with watched():
            command()
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise SystemExit(debug.line(program, error, explain(error, config_name, argv))) from None
    finally:
        if asked is None:
            os.environ.pop("HYDRA_FULL_ERROR")
        else:
            os.environ["HYDRA_FULL_ERROR"] = asked


def guard_secrets() -> None:
    """Let ``${oc.env:NAME}`` of a config file read everything but secrets: what it reads is written into records."""

    def read(key: str, default: Any = _NONE) -> Any:
        if _SECRET.search(key):
            raise ValueError(f"${{oc.env:{key}}} would write a secret into config.yaml, checkpoints and trackers; "
                             "programs that need it read the environment themselves: drop it from the config")
        return oc_env(key) if default is _NONE else oc_env(key, default)

    OmegaConf.register_new_resolver("oc.env", read, replace=True)


def check_choices(argv: Sequence[str]) -> None:
    """Hydra fails on a list inside a list of options, and on deep nesting, with an error about its own code.

    Raises:
      ValueError: an argument is such a one.
    """
    for argument in (" ".join(word.split()) for word in argv):
        group, _, value = argument.lstrip("+~").partition("=")
        inside = value.strip().removeprefix("[")
        if value.strip().startswith("[") and re.fullmatch("[a-z_/]+", group) and _options(group) and "[" in inside:
            raise ValueError(f"{argument}: expected an option of {group}, or a list of options such as [a,b]")
        if max(argument.count(sign) for sign in "[{(") > _NESTED:
            raise ValueError(f"{argument[:60]}...: has more than {_NESTED} opening brackets; expected a value")


def explain(error: Exception, config_name: str, argv: list[str]) -> str:
    """The error in one line: what was given, and the choices where they can be found."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}={option} is not an option; expected one of: {', '.join(_options(group)) or '-'}"
    found = re.search(r"Could not override '([^']+)'", text)
    if found is None:
        return " ".join(text.split())
    key = found[1]
    if "/" in key or any(a.lstrip("+~").startswith(f"{key}=") and "." not in key for a in argv) and _options(key):
        return f"group {key!r} is not one that can be overridden here; rrl-train --help lists all groups and options"
    parent, _, name = key.rpartition(".")
    given = next((a for a in argv if a.lstrip("+~").startswith(f"{key}=")), key)
    choices = _keys(config_name, parent, argv)
    refused = f"{given}: {parent or 'the config'} has no key {name!r}"
    return f"{refused}; expected one of: {choices}" if choices else refused


def _options(group: str) -> list[str]:
    """Option files of a config group; none where there is no such group."""
    folder = files("rrl.conf")
    for part in group.split("/"):
        folder = folder / part
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _keys(config_name: str, parent: str, argv: list[str]) -> str:
    """Keys of node ``parent`` under the command line's choices of options, as text."""
    chosen = [a for a in argv if re.fullmatch(r"[a-z_/]+=[a-z0-9_]+|[a-z_/]+=\[[a-z0-9_,]*\]", a)]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("rrl.conf", version_base="1.3"):
            cfg = compose(config_name, chosen)
    except (HydraException, OmegaConfBaseException):
        return ""
    node = OmegaConf.select(cfg, parent) if parent else cfg
    return ", ".join(str(k) for k in node if k != "_target_") if isinstance(node, DictConfig) else ""
