"""What a run writes down while it trains: jsonl always, console, wandb, tensorboard; one backend a file."""
