"""What the outcome of a run depends on: the fields of the TOML files in `configs`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class DataConfig:
    """The pictures.

    Args:
        train: Name or file of the list of pictures to label and to train on.
        val: Name or file of the list of pictures to score the segmentation on.
        procedural: Draw the data set instead of reading one, unless `--voc-root` is given.
        saliency: Where labels take the saliency of a picture from: a folder with `ID.png`, in the
            data set or elsewhere; `module:function`, which gives (H, W) values in [0, 1] of an RGB
            picture (H, W, 3), such as pipeline.contrast_saliency:contrast_saliency; or none: the
            background is what `background_from_cam` makes of the OA-CAMs.
    """

    train: str = "train_aug"
    val: str = "val"
    procedural: bool = False
    saliency: str = "saliency"


@dataclass(frozen=True)
class TrunkConfig:
    """A network without its last layers.

    Args:
        name: vgg16, resnet101 or a timm model.
        output_stride: Pixels of the input for each feature.
        weights: imagenet (online), random, or a .pth or .safetensors file; for segmentation also
            classifier, the trunk of the trained classifier.
        frozen: Compute the features of each picture once, on disk, and train on these.
        freeze_batch_norm: Keep the statistics of the trunk's batch norms.
    """

    name: str = "vgg16"
    output_stride: int = 8
    weights: str = "imagenet"
    frozen: bool = False
    freeze_batch_norm: bool = False


@dataclass(frozen=True)
class AugmentationConfig:
    """What happens to a picture before it is trained on.

    Args:
        flip: Mirror half of the pictures.
        color_jitter: Strengths for brightness, contrast, saturation and hue; empty for none.
        scales: The smallest and the largest factor of a random size (segmentation only).
        crop: Side of a random square crop (segmentation only); 0 for none.
    """

    flip: bool = False
    color_jitter: tuple[float, ...] = ()
    scales: tuple[float, float] = (1.0, 1.0)
    crop: int = 0


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Args:
        epochs: Passes over the pictures.
        iterations: Steps of the optimizer, in place of epochs; 0 to go by `epochs`.
        batch_size: Pictures of one forward pass.
        accumulate: Forward passes of one step; those of a step are shared between the processes.
        optimizer: sgd (with Nesterov momentum 0.9) or adamw.
        lr: The first learning rate.
        lr_factors: Factors of `lr` for the trunk's weights and biases, the head's weights and
            biases.
        weight_decay: Weight decay.
        schedule: step (a tenth from each milestone on), poly, or cosine.
        milestones: Epochs at which the schedule `step` goes down.
        power: Exponent of the schedule `poly`.
    """

    epochs: int = 15
    iterations: int = 0
    batch_size: int = 5
    accumulate: int = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 1e-3
    lr_factors: tuple[float, float, float, float] = (1.0, 2.0, 10.0, 20.0)
    weight_decay: float = 5e-4
    schedule: Literal["step", "poly", "cosine"] = "step"
    milestones: tuple[int, ...] = (5, 10)
    power: float = 0.9


@dataclass(frozen=True)
class CAMNetworkConfig:
    """The classifier, or the integral attention model.

    Args:
        size: Side of the square that pictures are resized to.
        hidden_channels: Channels of the layers between trunk and unit.
        hidden_kernel: 3 for the published three convolutions, 1 for one 1x1 convolution.
        num_nodes: Nodes of the global reasoning unit; 0 leaves it out.
        augmentation: What happens to a picture before.
        training: How it is trained.
    """

    size: int = 256
    hidden_channels: int = 512
    hidden_kernel: Literal[1, 3] = 3
    num_nodes: int = 64
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class LabelConfig:
    """Options of `initial_labels`, `pom_refine` and `ignore_sparse_labels`.

    Args:
        power: Option of `background_from_cam`, which takes the place of saliency if there is none.
        refine: Let the maps follow the picture's edges before labels are made of them.
    """

    fg_threshold: float = 0.3
    conflict_threshold: float = 0.9
    attention_threshold: float = 0.8
    saliency_threshold: float = 32 / 255
    bg_threshold: float = 0.3
    quartile: Literal["linear", "nested-median"] = "linear"
    min_object_ratio: float = 0.01
    power: float = 1.0
    refine: bool = False


@dataclass(frozen=True)
class MaskConfig:
    """Options of `nsrm_mask`, or of what takes its place.

    Args:
        confident: Take the labels that the first network is sure of, `confident_labels`, in place
            of NSRM; then only the last three options matter.
        use_saliency: Mask what is neither near an object nor near a pixel whose saliency is not 0.
        kernel_size: Side of the dilation, in pixels or (below 1) relative to the longer side.
        min_classes: Pictures with as many classes are complex.
        keep_ignored: Pixels that POM ignores stay so where the prediction is background.
        restrict_to_image_labels: Predicted classes that the picture has not do not count.
        background_threshold: Option of `confident_labels`.
        object_threshold: Option of `confident_labels`.
        refine: Let the probabilities follow the picture's edges before.
    """

    confident: bool = False
    use_saliency: bool = True
    kernel_size: int | float = 30
    min_classes: int = 2
    keep_ignored: bool = False
    restrict_to_image_labels: bool = False
    background_threshold: float = 0.95
    object_threshold: float = 0.3
    refine: bool = False


@dataclass(frozen=True)
class SegmentationConfig:
    """The segmentation network.

    Args:
        hidden_channels: Channels of a 1x1 convolution before the dilated ones; 0 for none.
        rates: Dilations of the 3x3 convolutions whose sum is the prediction.
        input_scales: Sizes at which each picture goes in; the maximum is the prediction.
        size: Side of the square that pictures are resized to; 0: their own size.
        label_size: Side of the square that labels are resized to for the loss; 0: as they are.
        flip: Predict the mirror image too.
        crf: Score the prediction after a conditional random field too (the extra `crf`).
        augmentation: What happens to a picture before.
        training: How it is trained.
    """

    hidden_channels: int = 0
    rates: tuple[int, ...] = (6, 12, 18, 24)
    input_scales: tuple[float, ...] = (1.0,)
    size: int = 0
    label_size: int = 0
    flip: bool = True
    crf: bool = False
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class Config:
    """The whole method.

    Args:
        data: The pictures.
        cam_trunk: Trunk of the classifier and of the integral attention model.
        classifier: The classifier, whose maps are the CAMs.
        integral: The integral attention model, whose maps are the OA-CAMs.
        label: From maps and saliency to the label of the first round.
        segmentation_trunk: Trunk of the segmentation network.
        segmentation: The segmentation network, the same in both rounds.
        mask: From the first round's prediction to the label of the second.
    """

    data: DataConfig = field(default_factory=DataConfig)
    cam_trunk: TrunkConfig = field(default_factory=TrunkConfig)
    classifier: CAMNetworkConfig = field(default_factory=CAMNetworkConfig)
    integral: CAMNetworkConfig = field(default_factory=CAMNetworkConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    segmentation_trunk: TrunkConfig = field(default_factory=TrunkConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
