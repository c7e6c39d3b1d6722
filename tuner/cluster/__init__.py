"""Runs trials on a cluster: Ray Tune, placement groups, Ray Jobs."""
