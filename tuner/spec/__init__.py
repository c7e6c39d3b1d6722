"""Defines what is asked for: jobs, spaces and trials as frozen types, read from YAML."""
