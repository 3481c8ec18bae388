"""A command that is shown so that it can be typed: what a shell and Hydra would read otherwise is quoted."""

from __future__ import annotations

import re
import shlex

_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@%+-]*")  # neither a shell nor Hydra's grammar reads more in it
_OF_SHELLS = set('"$`\\!')  # what means something inside double quotes


def typed(program: str, key: str, path: object) -> str:
    """``program key=path``, to be copied into a shell.

    Example: typed("rrl-train", "resume", "/my runs/a") -> rrl-train "resume='/my runs/a'"
    """
    text = str(path)
    if _PLAIN.fullmatch(text) and "/" in text:  # without one it may be a number, or null
        return f"{program} {key}={text}"
    # Hydra's quotes: a backslash is one, but before a quote it escapes that, and another before it.
    inner = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    override = f"{key}='{inner}'"
    return f"{program} " + (shlex.quote(override) if _OF_SHELLS & set(override) else f'"{override}"')
