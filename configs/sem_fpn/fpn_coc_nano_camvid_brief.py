# CoC-nano on CamVid, for recording many curves: half a minute on one CPU core; a fifth of the validation images.
_base_ = "./fpn_coc_nano_camvid.py"
fifth = dict(img_suffix="9.jpg", seg_map_suffix="9.png")
data = dict(val=fifth, test=fifth)
lr_config = dict(warmup_iters=20)
runner = dict(max_iters=192)
evaluation = dict(interval=96)
