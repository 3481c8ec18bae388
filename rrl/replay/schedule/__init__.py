"""When and how much to replay; one option a file."""
