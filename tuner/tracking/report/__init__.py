"""Draws the report on a study: the verdict first, then all that it rests on."""
