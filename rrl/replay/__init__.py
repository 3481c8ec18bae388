"""Retrospective replay: what to remember, what to restart from now, when, how much, and what may never be kept.

Sees plain tokens and numbers, never a tensor or a model. Start at ``replay.py``; the table of options is README.md.
"""
