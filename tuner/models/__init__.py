"""The Context Cluster for mmseg. Without compiled operators, mmseg can be imported after this package only."""

import logging
import warnings

# every import of mmcv 1.x announces that there will be a 2.x
warnings.filterwarnings("ignore", "On January 1, 2023, MMCV")

# nor need everybody hear that there is a CUDA compiler but no GPU
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

from tuner.models.mmcv_ops import stand_in_for_missing_operators  # noqa: E402 - imports mmcv

stand_in_for_missing_operators()
