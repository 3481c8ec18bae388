"""What ``rrl-eval`` found, from its folder alone: figures, comparison, table, plots, page of samples. Start at ``write``."""
