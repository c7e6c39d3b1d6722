"""Keeps studies in Optuna's database, the only truth about a search."""
