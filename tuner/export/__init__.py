"""Writes what people take home of a study, and proves that it runs where they work."""
