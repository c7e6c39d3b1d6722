"""Asks Optuna for the next trial, and says who continues at a rung."""
