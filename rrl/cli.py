"""How the commands answer a wrong command line: one line on stderr with key, value and choices, exit code 1.

Hydra's own reports have many lines, or a traceback, and seldom the choices; ``HYDRA_FULL_ERROR=1`` still shows all.
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

from rrl.terminal import open_streams


def speak(program: str, command: Callable[[], Any], config_name: str) -> None:
    """Run a Hydra command; what is wrong with its command line becomes one line.

    Args:
      program: as it is typed, such as rrl-train.
      command: the function that ``hydra.main`` decorated.
      config_name: its primary config, whose keys are the choices.
    """
    open_streams()
    asked = os.environ.get("HYDRA_FULL_ERROR")
    if asked == "1":
        command()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing
    try:
        check_choices(sys.argv[1:])
        command()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise SystemExit(f"{program}: {explain(error, config_name, sys.argv[1:])}") from None
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")


def check_choices(argv: Sequence[str]) -> None:
    """Hydra fails on a list inside a list of options with an error about its own code. Raises ValueError for one."""
    for argument in argv:
        group, _, value = argument.lstrip("+~").partition("=")
        inside = value.strip().removeprefix("[")
        if value.strip().startswith("[") and re.fullmatch("[a-z_/]+", group) and _options(group) and "[" in inside:
            raise ValueError(f"{argument}: expected an option of {group}, or a list of options such as [a,b]")


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
