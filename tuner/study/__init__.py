"""Tells the story of a study, and what its trials say: when it stops, who is replicated, who is best."""
