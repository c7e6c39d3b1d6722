# Published: mIoU 36.3 on the ADE20K validation set, from ImageNet weights.
_base_ = [
    "../_base_/models/fpn_coc.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]
model = dict(backbone=dict(arch="small", centers=[49, 49, 49, 49]))
