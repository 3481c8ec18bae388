"""Where a response may be cut; one option a file."""
