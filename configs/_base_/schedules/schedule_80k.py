# The hyperparameters that Context Cluster copied from PVT.
optimizer = dict(type="AdamW", lr=1e-4, weight_decay=1e-4)
optimizer_config = dict()
lr_config = dict(policy="poly", power=0.9, min_lr=0.0, by_epoch=False)
runner = dict(type="IterBasedRunner", max_iters=80000)
checkpoint_config = dict(by_epoch=False, interval=8000)
evaluation = dict(interval=8000, metric="mIoU", pre_eval=True)
