"""What to remember: which boundaries of an attempt become stored prefixes; one option a file."""
