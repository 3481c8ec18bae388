"""What may never be kept; one option a file, several at once."""
