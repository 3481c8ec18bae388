"""Recurrences over packed rows: GAE, V-trace."""
