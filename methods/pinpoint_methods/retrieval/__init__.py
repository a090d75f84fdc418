"""Nearest neighbours on raw features, and what ranks or votes on them without any training."""
