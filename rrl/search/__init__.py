"""Hyper-parameter search by Optuna over the same configs that people type; start at cli.py."""
