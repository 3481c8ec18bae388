"""Which problems to replay: first stage of the draw; one option a file."""
