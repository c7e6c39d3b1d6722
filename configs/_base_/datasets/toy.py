# Scenes of textured regions, 128×96, drawn by `tuner toy`; value 0 is "other", 1 … 8 are the classes.
dataset_type = "CustomDataset"
data_root = "data/toy"
classes = ("sky", "hill", "water", "meadow", "sand", "wall", "roof", "path")
palette = [
    [116, 178, 226],
    [86, 108, 92],
    [38, 92, 160],
    [110, 168, 60],
    [222, 200, 140],
    [180, 172, 164],
    [172, 68, 48],
    [128, 112, 96],
]
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (96, 96)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="Resize", img_scale=(128, 96), ratio_range=(0.75, 1.25)),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Normalize", **img_norm_cfg),
    dict(type="Pad", size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type="DefaultFormatBundle"),
    dict(type="Collect", keys=["img", "gt_semantic_seg"]),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="MultiScaleFlipAug",
        img_scale=(128, 96),
        flip=False,
        transforms=[
            dict(type="AlignResize", keep_ratio=True, size_divisor=32),
            dict(type="RandomFlip"),
            dict(type="Normalize", **img_norm_cfg),
            dict(type="ImageToTensor", keys=["img"]),
            dict(type="Collect", keys=["img"]),
        ],
    ),
]
training = dict(
    type=dataset_type,
    data_root=data_root,
    img_dir="images/training",
    ann_dir="annotations/training",
    img_suffix=".jpg",
    seg_map_suffix=".png",
    reduce_zero_label=True,
    classes=classes,
    palette=palette,
    pipeline=train_pipeline,
)
validation = dict(
    type=dataset_type,
    data_root=data_root,
    img_dir="images/validation",
    ann_dir="annotations/validation",
    img_suffix=".jpg",
    seg_map_suffix=".png",
    reduce_zero_label=True,
    classes=classes,
    palette=palette,
    pipeline=test_pipeline,
)
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=0,
    persistent_workers=False,
    train=training,
    val=validation,
    test=validation,
)
