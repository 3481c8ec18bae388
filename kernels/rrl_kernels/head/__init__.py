"""Log-probabilities and policy losses straight from hidden states: logits exist a chunk at a time."""
