# CoC-nano on CamVid with the authors' whole schedule, for jobs that compress it; the test split is the data set's own.
_base_ = "./fpn_coc_nano_camvid.py"
data = dict(test=dict(img_dir="images/test", ann_dir="annotations/test"))
runner = dict(max_iters=80000)
checkpoint_config = dict(interval=8000)
evaluation = dict(interval=8000)
