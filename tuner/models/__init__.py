"""Gives mmseg the Context Cluster. Without compiled operators, import this package before mmseg."""

import logging
import warnings

# what mmcv and mmseg say at every import and every model, and nobody can act on
warnings.filterwarnings("ignore", "On January 1, 2023, MMCV")
warnings.filterwarnings("ignore", "Default ``avg_non_ignore`` is False")
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

from mmcv.utils import get_logger  # noqa: E402

from tuner.models.mmcv_ops import stand_in_for_missing_operators  # noqa: E402 - imports mmcv

stand_in_for_missing_operators()
for name in ("mmcv", "mmseg"):
    get_logger(name).setLevel(logging.WARNING)  # they list every data set and every tensor of every model
