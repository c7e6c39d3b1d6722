"""Gives mmseg the Context Cluster. Import it before mmseg, where mmcv has no compiled operators."""

import logging
import warnings

from tuner.models.mmcv_ops import stand_in_for_missing_operators

# what mmcv and mmseg say at every import and every model, and nobody can act on
warnings.filterwarnings("ignore", "On January 1, 2023, MMCV")
warnings.filterwarnings("ignore", "Default ``avg_non_ignore`` is False")
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
for name in (
    "mmcv",
    "mmseg",
):  # they list every data set and every tensor of every model, whatever level is set here
    logging.getLogger(name).addFilter(lambda record: record.levelno >= logging.WARNING)

stand_in_for_missing_operators()
