# CamVid with 11 classes; the 240×180 images, trained on crops, tested whole (aligned to 256×192).
dataset_type = "CustomDataset"
data_root = "data/camvid"
classes = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)
palette = [
    [128, 128, 128],
    [128, 0, 0],
    [192, 192, 128],
    [128, 64, 128],
    [60, 40, 222],
    [128, 128, 0],
    [192, 128, 128],
    [64, 64, 128],
    [64, 0, 128],
    [64, 64, 0],
    [0, 128, 192],
]
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (128, 128)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", img_scale=(240, 180), ratio_range=(0.5, 1.25)),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
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
        img_scale=(256, 192),
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
    reduce_zero_label=False,
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
    reduce_zero_label=False,
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
