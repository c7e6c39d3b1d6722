"""Reads mmseg configs and says what is made of each of their keys."""
