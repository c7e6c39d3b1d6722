# A trainer without model and images, for trying out searches, schedulers and clusters in seconds.
runner = dict(
    type="Synthetic",
    max_iters=480,
    seconds_per_iteration=0.0,
    best_lr=2e-3,
    noise=0.3,  # standard deviation of the mIoU, by seed
    diverges_above=1.0,  # a learning rate
    out_of_memory_above=8000,  # centers, summed over the stages, times the images that are trained at once
    crashes=0.0,  # share of the trials
)
model = dict(backbone=dict(centers=[4, 4, 4, 4]))
optimizer = dict(type="AdamW", lr=1e-4, weight_decay=1e-4)
data = dict(samples_per_gpu=8, train=dict(), val=dict(), test=dict())
