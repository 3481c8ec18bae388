"""Sweeps: a job's own record (record.py), what a rerun does with it, and jobs in processes of their own (run.py).

Nothing here imports torch: a launcher watches its jobs, it trains nothing.
"""
