"""Which objects a config may name: classes of this project, and of packages that the user, not the config, vouches for.

A config comes from a file, a checkpoint or a colleague, and importing a module runs it; so a name is looked at before
anything is imported. ``RRL_TARGETS`` in the environment lists further prefixes, comma between them:
``RRL_TARGETS=my_package.,tests.`` lets ``_target_: my_package.selection.Mine`` in.
"""

from __future__ import annotations

import os
import re

VARIABLE = "RRL_TARGETS"
_OWN = ("rrl.",)


def check_target(target: object, key: str) -> str:
    """``target`` as text. Raises ValueError, naming ``key``, where it is not one that may be imported."""
    allowed = (*_OWN, *(prefix.strip() for prefix in os.environ.get(VARIABLE, "").split(",") if prefix.strip()))
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        raise ValueError(f"{key}._target_ is {target!r}; expected the dotted name of a class, such as "
                         "rrl.replay.selection.gap.Gap")
    if not any(target.startswith(prefix if prefix.endswith(".") else prefix + ".") for prefix in allowed):
        raise ValueError(f"{key}._target_ is {target!r}, which is not imported: a config may name classes under "
                         f"{', '.join(allowed)} only; to let your own package in, set the environment variable "
                         f"{VARIABLE}={target.partition('.')[0]}.")
    return target
