"""What ``rrl-eval`` found, from its folder alone: figures, comparison, tables, plots, page. Start at ``write``."""
