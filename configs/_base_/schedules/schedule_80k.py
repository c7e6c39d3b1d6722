# The hyperparameters that Context Cluster copied from PVT.
optimizer = dict(
    type="AdamW",
    lr=1e-4,
    weight_decay=1e-4,
    betas=(0.9, 0.999),
    constructor="ContextClusterLayerDecay",
    paramwise_cfg=dict(decay_rate=1.0),  # of the learning rate, a block, from the head to the stem: no decay
)
optimizer_config = dict()
lr_config = dict(
    policy="poly",
    power=0.9,
    min_lr=0.0,
    by_epoch=False,
    warmup="linear",
    warmup_iters=500,
    warmup_ratio=1.0,  # of the learning rate, to begin with: no warm-up
)
runner = dict(type="IterBasedRunner", max_iters=80000)
checkpoint_config = dict(by_epoch=False, interval=8000)
evaluation = dict(interval=8000, metric="mIoU", pre_eval=True)
