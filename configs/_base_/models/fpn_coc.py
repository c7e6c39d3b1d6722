# Semantic FPN on Context Cluster. To start from ImageNet weights, give the backbone
# init_cfg=dict(type='Pretrained', checkpoint='model_best.pth.tar'): the authors' file for the same arch.
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    backbone=dict(
        type="ContextCluster", arch="small", centers=[4, 4, 4, 4], drop_path_rate=0.0, with_cp=False
    ),
    neck=dict(type="FPN", in_channels=[64, 128, 320, 512], out_channels=256, num_outs=4),
    decode_head=dict(
        type="FPNHead",
        in_channels=[256, 256, 256, 256],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=128,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
