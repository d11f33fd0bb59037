"""Files of this field: label maps, saliency, image-level labels, CAM dumps of other codebases."""

from .cam_files import CAM_FORMATS, cam_ids, detect_cam_format, read_cams, write_cams
from .cams import CAMs
from .image_labels import list_ids, read_image_labels, write_image_labels
from .labels import read_label, write_label
from .saliency import read_saliency
from .voc import VOC_CLASSES, VOC_PALETTE

__all__ = [
    "CAM_FORMATS",
    "VOC_CLASSES",
    "VOC_PALETTE",
    "CAMs",
    "cam_ids",
    "detect_cam_format",
    "list_ids",
    "read_cams",
    "read_image_labels",
    "read_label",
    "read_saliency",
    "write_cams",
    "write_image_labels",
    "write_label",
]
