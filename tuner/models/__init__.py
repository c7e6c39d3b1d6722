"""Importing this package registers the Context Cluster backbones with mmseg (`custom_imports` in a config)."""

from tuner.models.mmcv_ops import stand_in_for_missing_operators

stand_in_for_missing_operators()

from tuner.models import context_cluster as context_cluster  # noqa: E402 - mmseg needs the stand-in first
