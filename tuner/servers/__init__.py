"""Holds what starts, awaits and ends servers: Ray's head, MLflow's page; and finds them free ports."""
