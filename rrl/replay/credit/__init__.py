"""What a converted prefix itself learns; one option a file."""
