"""Retrospective Replay-based Reinforcement Learning: see README.md."""

__version__ = "0.1.0"
