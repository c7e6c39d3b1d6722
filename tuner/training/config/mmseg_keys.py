"""Lists every key that mmseg 0.19-0.30's train.py, `train_segmentor` and mmcv's hooks read, and what follows.

A key that stands in no table is left alone: mmseg's configs are full of helper variables. Checked with
mmseg 0.30.0 and mmcv 1.7.2.
"""

from typing import Any

HONOURED: dict[str, str] = {
    "model": "built by mmseg's build_segmentor, with its first weights",
    "model.pretrained": "given to the backbone, as mmseg's segmentors do",
    "model.train_cfg": "given to the segmentor",
    "model.test_cfg": "given to the segmentor: whole or slide",
    "train_cfg": "the old place of model.train_cfg",
    "test_cfg": "the old place of model.test_cfg",
    "optimizer": "built by mmcv, constructor and paramwise_cfg included",
    "optimizer_config": "registered as mmcv's optimizer hook",
    "lr_config": "registered as mmcv's hook of that policy",
    "momentum_config": "registered as mmcv's hook of that policy",
    "custom_hooks": "registered with their priorities",
    "custom_imports": "imported before anything is built",
    "log_config": "its hooks are registered",
    "runner": "an IterBasedRunner; max_iters is the schedule's length",
    "runner.max_iters": "the schedule's length",
    "total_iters": "the old spelling of runner.max_iters",
    "load_from": "loaded after the first weights, names that do not match left out as mmcv does",
    "find_unused_parameters": "given to DistributedDataParallel",
    "cudnn_benchmark": "given to torch",
    "tuner": "what only the tuner reads: accumulation, image_cache, secondary, sweep_centers, strips",
    "seed": "of weights and samples; a job's trials have the job's",
    "checkpoint_config": "its interval is how often a training is saved",
    "checkpoint_config.interval": "how often a training is saved between its evaluations",
    "checkpoint_config.by_epoch": "iterations are counted alone: true saves at evaluations only",
    "evaluation": "its metric is what is measured; its interval counts in `tuner train`, a job has rungs",
    "evaluation.metric": "what is measured: mIoU, mDice, mFscore",
    "evaluation.interval": "when `tuner train` evaluates; a job has rungs",
    "evaluation.pre_eval": "for data sets that evaluate in their own way",
    "data": "built by mmseg's build_dataset",
    "data.train": "any data set, list or wrapper, as one long stream of samples",
    "data.val": "what trials are compared by",
    "data.test": "kept for mmseg's own tools/test.py",
    "data.samples_per_gpu": "images a rank and iteration; a job's global_batch takes its place",
    "data.workers_per_gpu": "loader processes of a rank",
    "data.train_dataloader": "samples_per_gpu, workers_per_gpu and shuffle",
    "data.train_dataloader.samples_per_gpu": "takes the place of data.samples_per_gpu",
    "data.train_dataloader.workers_per_gpu": "takes the place of data.workers_per_gpu",
    "data.train_dataloader.shuffle": "False keeps the data set's own order",
    "data.test_dataloader": "kept for mmseg's own tools/test.py",
}
"""Key: how."""

MEANINGLESS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "fp16": (
        "no training of mmseg's reads it, but optimizer_config = dict(type='Fp16OptimizerHook', loss_scale=…); "
        "or let resources.precision of the job be fp16",
        (None,),
    ),
    "workflow": ("trials are evaluated at their rungs instead of in turns", ([("train", 1)], [["train", 1]])),
    "work_dir": ("every trial has a folder below --home", (None,)),
    "gpu_ids": ("the job's resources say which GPUs", (None, [0], range(1))),
    "gpus": ("the job's resources say how many GPUs", (None, 1)),
    "device": ("the job's resources say which device", (None, "cuda", "cpu")),
    "auto_resume": ("a training always goes on from its own checkpoint", (None, False, True)),
    "dist_params": ("ranks use nccl between GPUs and gloo otherwise", (None, {"backend": "nccl"})),
    "log_level": ("the tuner's own log shows warnings", (None, "INFO", "WARNING")),
    "mp_start_method": ("loader processes start as torch's default", (None, "fork")),
    "opencv_num_threads": ("it changes the pace alone", (None, 0)),
    "omp_num_threads": ("it changes the pace alone", (None, 1)),
    "mkl_num_threads": ("it changes the pace alone", (None, 1)),
    "checkpoint_config.max_keep_ckpts": ("a trial keeps its last checkpoint", (None, -1, 1)),
    "checkpoint_config.save_optimizer": ("a checkpoint always holds the optimizer", (None, True)),
    "checkpoint_config.save_last": ("a trial always keeps its last checkpoint", (None, True)),
    "checkpoint_config.out_dir": ("checkpoints lie in the trial's folder", (None,)),
    "checkpoint_config.meta": ("the tuner writes its own: CLASSES, PALETTE, config", (None,)),
    "evaluation.save_best": ("a trial keeps its last checkpoint, at which it is measured", (None,)),
    "evaluation.start": ("trials are evaluated at their rungs", (None,)),
    "evaluation.by_epoch": ("iterations are counted alone", (None, False)),
    "evaluation.rule": ("it belongs to save_best", (None,)),
    "evaluation.greater_keys": ("it belongs to save_best", (None,)),
    "evaluation.less_keys": ("it belongs to save_best", (None,)),
    "evaluation.out_dir": ("it belongs to save_best", (None,)),
    "evaluation.file_client_args": ("it belongs to save_best", (None,)),
    "evaluation.efficient_test": ("mmseg itself ignores it since 0.17", (None, False, True)),
    "evaluation.gpu_collect": ("ranks add up confusion matrices", (None, False, True)),
    "evaluation.tmpdir": ("ranks add up confusion matrices", (None,)),
    "evaluation.broadcast_bn_buffer": ("the first rank's buffers are always evaluated", (None, True)),
    "data.val_dataloader": ("the batches of an evaluation do not change its metrics", (None, {})),
    "data.persistent_workers": ("one stream lasts the whole training", (None, True, False)),
    "data.pin_memory": ("memory is pinned where there is a GPU", (None, True, False)),
    "data.prefetch_factor": ("it changes the pace alone", (None, 2)),
    "data.drop_last": ("the stream of samples has no last batch", (None, True, False)),
    "data.train_dataloader.drop_last": ("the stream of samples has no last batch", (None, True, False)),
    "data.train_dataloader.persistent_workers": ("one stream lasts the whole training", (None, True, False)),
    "data.train_dataloader.pin_memory": ("memory is pinned where there is a GPU", (None, True, False)),
    "data.train_dataloader.prefetch_factor": ("it changes the pace alone", (None, 2)),
}
"""Key: why, and the values that go without a word because nobody chose them."""

REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "resume_from": ("a search begins at iteration 0: set load_from to begin with these weights", (None, "")),
    "total_epochs": (
        "iterations are counted: set runner = dict(type='IterBasedRunner', max_iters=…)",
        (None,),
    ),
    "data.shuffle": ("write it into data.train_dataloader", (None, True)),
    "data.train_dataloader.sampler": ("samples follow from seed and number: remove it", (None,)),
    "data.train_dataloader.batch_size": ("write samples_per_gpu", ()),
    "evaluation.test_fn": ("the tuner evaluates itself: remove it", (None,)),
}
"""Key: what to do instead, and the values that mean nothing."""

REFUSED_TYPES: dict[str, dict[str, str]] = {
    "runner": {
        "EpochBasedRunner": "iterations are counted: set runner = dict(type='IterBasedRunner', max_iters=…), "
        "max_epochs times the training images, divided by the global batch; and by_epoch=False in lr_config"
    },
}
"""Key: the values of its `type` that are refused, and what to do instead."""

NEEDED: dict[str, str] = {
    "model": "model = dict(type='EncoderDecoder', …)",
    "data": "data = dict(samples_per_gpu=…, train=…, val=…)",
    "data.train": "train = dict(type=…, …)",
    "data.val": "val = dict(type=…, …): trials are compared by it",
    "optimizer": "optimizer = dict(type='AdamW', lr=…)",
    "optimizer_config": "optimizer_config = dict()",
    "lr_config": "lr_config = dict(policy='poly', …), or None for a constant rate",
}
"""Key: what to write, as mmseg's own training cannot do without it either."""

LOADER = (
    "samples_per_gpu", "workers_per_gpu", "shuffle", "drop_last", "pin_memory", "persistent_workers",
    "prefetch_factor", "timeout", "multiprocessing_context", "generator", "sampler", "batch_sampler",
    "in_order", "pin_memory_device",
)  # fmt: skip
"""The keys that mmseg's build_dataloader and torch's DataLoader take: another key in `data` fails in mmseg too."""
