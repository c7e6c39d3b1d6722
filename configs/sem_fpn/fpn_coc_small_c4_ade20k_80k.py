# Published: mIoU 36.6 on the ADE20K validation set, from ImageNet weights.
_base_ = [
    "../_base_/models/fpn_coc.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]
model = dict(backbone=dict(arch="small", centers=[4, 4, 4, 4]))
