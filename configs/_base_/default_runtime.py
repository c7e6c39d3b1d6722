custom_imports = dict(
    imports=["tuner.models.context_cluster", "tuner.models.layer_decay", "tuner.training.data.data"],
    allow_failed_imports=False,
)
log_config = dict(interval=50, hooks=[dict(type="TextLoggerHook", by_epoch=False)])
dist_params = dict(backend="nccl")
log_level = "INFO"
load_from = None
resume_from = None
workflow = [("train", 1)]
cudnn_benchmark = True
# Read by the tuner alone; mmseg's own trainer does without it:
tuner = dict(
    accumulation=1,  # parts that a GPU's images are trained in, one after the other
    image_cache=0,  # GiB of decoded images that a node keeps
)
