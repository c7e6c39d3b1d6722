"""Searches in virtual time over recorded learning curves."""
