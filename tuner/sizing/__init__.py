"""Computes what can be known before anything runs: trial configs, memory, the plan, what looks unusual."""
