"""Runs programs that a model wrote, so that they can harm nothing and cannot forge a verdict. Start at ``pool``.

Must not know: tasks, rewards, tokens, torch. ``zygote``, ``guest`` and what they import run with the standard library
alone, in another process.
"""
