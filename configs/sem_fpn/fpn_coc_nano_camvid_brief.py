# CoC-nano on CamVid, for recording many curves: 40 seconds on one CPU core; a fifth of the validation pictures.
_base_ = "./fpn_coc_nano_camvid.py"
fifth = dict(img_suffix="9.jpg", seg_map_suffix="9.png")
data = dict(val=fifth, test=fifth)
runner = dict(max_iters=320)
evaluation = dict(interval=160)
