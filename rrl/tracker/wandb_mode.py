"""Where W&B's records go: to its server, or to files until somebody syncs them."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Literal

Mode = Literal["online", "offline", "disabled"]

_MODES: dict[str, Mode] = {"online": "online", "offline": "offline", "disabled": "disabled"}


def resolve_mode() -> Mode:
    """What auto means here: WANDB_MODE where set, else online with an API key in WANDB_API_KEY or in a
    netrc file, else offline.

    Raises:
      ValueError: WANDB_MODE is none of W&B's modes.
    """
    asked = os.environ.get("WANDB_MODE", "")
    if not asked:
        return "online" if os.environ.get("WANDB_API_KEY") or _has_netrc_login() else "offline"
    if asked not in _MODES:
        raise ValueError(f"WANDB_MODE is {asked!r}; expected one of {', '.join(_MODES)}, or leave it unset")
    return _MODES[asked]


def _has_netrc_login() -> bool:
    host = os.environ.get("WANDB_BASE_URL", "api.wandb.ai").removeprefix("https://").removeprefix("http://").rstrip("/")
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if path.is_file() and netrc.netrc(path).authenticators(host):
                return True
        except (netrc.NetrcParseError, OSError):
            continue  # a file we cannot read holds no login for us
    return False
