# The demo: CoC-nano on drawn scenes.
_base_ = [
    "../_base_/models/fpn_coc_nano.py",
    "../_base_/datasets/toy.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]
model = dict(
    backbone=dict(folds=[1, 1, 1, 1]),  # of a crop of 96×96: 24×24, 12×12, 6×6 and 3×3 points
    decode_head=dict(num_classes=8),
)
runner = dict(max_iters=90)
checkpoint_config = dict(interval=10)
evaluation = dict(interval=30)
