"""Measures trained models: metrics, cost, other numbers of centers."""
