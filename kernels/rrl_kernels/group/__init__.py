"""Statistics of groups of rows: group advantages, whitening."""
