"""Log-probabilities, entropies and policy losses from logits that exist already."""
