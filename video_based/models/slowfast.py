"""SlowFast-50 (Feichtenhofer et al., 2019) as the reference trained it (reference, section 4).

Two ResNet-50s over time: the Slow path sees every fourth frame with 64 channels, the Fast path every frame with 8.
After the stem and after each of the first three stages, a convolution over five frames, without normalisation, brings
the Fast features to Slow's frame rate. They are then appended to Slow's channels. Module names are those of the
published checkpoints.
"""

import torch
from torch import Tensor, nn

ALPHA = 4  # Fast frames per Slow frame
SLOW_WIDTH, FAST_WIDTH = 64, 8  # beta = 1/8
EXPANSION, LATERAL = 4, 2  # bottleneck output over width; lateral output over Fast channels
DEPTHS = (3, 4, 6, 3)
FAST_TEMPORAL, SLOW_TEMPORAL = (3, 3, 3, 3), (1, 1, 3, 3)  # frames that each stage's first convolutions span
DROPOUT = 0.5


class Bottleneck(nn.Module):
    """Convolutions over `temporal` frames, over 3x3 pixels (with the stride) and over channels, beside a shortcut."""

    def __init__(self, channels: int, width: int, temporal: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, (temporal, 1, 1), padding=(temporal // 2, 0, 0), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(width * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if project:
            shortcut = nn.Conv3d(channels, width * EXPANSION, 1, stride=(1, stride, stride), bias=False)
            self.downsample = nn.Sequential(shortcut)
            self.downsample_bn = nn.BatchNorm3d(width * EXPANSION)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample_bn(self.downsample(x))
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def _stage(channels: int, width: int, depth: int, temporal: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, temporal, stride, project=True)
    return nn.Sequential(
        first, *(Bottleneck(width * EXPANSION, width, temporal, 1, project=False) for _ in range(depth - 1))
    )


class SlowFast50(nn.Module):
    """Clips [B, 3, T, H, W] -> logits [B, num_classes], for any T >= 1; the Slow path sees ceil(T/4) frames."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.fast_conv1 = nn.Conv3d(3, FAST_WIDTH, (5, 7, 7), stride=(1, 2, 2), padding=(2, 3, 3), bias=False)
        self.fast_bn1 = nn.BatchNorm3d(FAST_WIDTH)
        self._add_stages("fast", FAST_WIDTH, FAST_TEMPORAL, lateral=0)
        self.slow_conv1 = nn.Conv3d(3, SLOW_WIDTH, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        self.slow_bn1 = nn.BatchNorm3d(SLOW_WIDTH)
        self._add_stages("slow", SLOW_WIDTH, SLOW_TEMPORAL, lateral=FAST_WIDTH * LATERAL)
        for number, channels in enumerate(
            (FAST_WIDTH, *(FAST_WIDTH * EXPANSION * 2**stage for stage in range(3))), start=1
        ):
            lateral = nn.Conv3d(
                channels, channels * LATERAL, (5, 1, 1), stride=(ALPHA, 1, 1), padding=(2, 0, 0), bias=False
            )
            setattr(self, f"Tconv{number}", lateral)
        self.dropout = nn.Dropout(DROPOUT)
        self.fc = nn.Linear((SLOW_WIDTH + FAST_WIDTH) * EXPANSION * 8, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def _add_stages(self, path: str, width: int, temporal: tuple[int, ...], lateral: int) -> None:
        """Add the stages `<path>_res1` to `<path>_res4`.

        `lateral` channels of the other path are appended to the stem's. After each stage their number grows with the
        width.
        """
        channels = width + lateral
        for stage, (depth, span) in enumerate(zip(DEPTHS, temporal, strict=True)):
            stride = 1 if stage == 0 else 2
            setattr(self, f"{path}_res{stage + 1}", _stage(channels, width * 2**stage, depth, span, stride))
            channels = (width + lateral) * EXPANSION * 2**stage

    def forward(self, clips: Tensor) -> Tensor:
        fast = self.pool(self.relu(self.fast_bn1(self.fast_conv1(clips))))
        slow = self.pool(self.relu(self.slow_bn1(self.slow_conv1(clips[:, :, ::ALPHA]))))
        for stage in range(1, 5):
            slow = torch.cat([slow, getattr(self, f"Tconv{stage}")(fast)], dim=1)
            slow = getattr(self, f"slow_res{stage}")(slow)
            fast = getattr(self, f"fast_res{stage}")(fast)
        features = torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)
        return self.fc(self.dropout(features))
