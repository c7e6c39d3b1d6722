# Small enough for a CPU. GroupNorm, so that the number of ranks does not change the result.
_base_ = "./fpn_coc.py"
model = dict(
    backbone=dict(arch="nano", folds=[2, 1, 1, 1]),  # of a crop of 128×128: 16×16, 16×16, 8×8 and 4×4 points
    neck=dict(in_channels=[32, 64, 112, 160], out_channels=64),
    decode_head=dict(
        in_channels=[64, 64, 64, 64], channels=64, norm_cfg=dict(type="GN", num_groups=8, requires_grad=True)
    ),
)
