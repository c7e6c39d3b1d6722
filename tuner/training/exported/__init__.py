"""Writes, loads and measures what an export holds: weights, logits, confusion matrices."""
