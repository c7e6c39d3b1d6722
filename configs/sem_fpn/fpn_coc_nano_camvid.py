# CoC-nano on CamVid: two and a half minutes on one CPU core.
_base_ = [
    "../_base_/models/fpn_coc_nano.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]
model = dict(decode_head=dict(num_classes=11))
runner = dict(max_iters=480)
checkpoint_config = dict(interval=20)
evaluation = dict(interval=160)
