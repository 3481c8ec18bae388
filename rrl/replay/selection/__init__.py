"""What to replay now: a ranking of one problem's stored states; one option a file."""
