"""ferdata: faces with named expression labels, for networks that want plain arrays.

Everything public is importable from here; a module is loaded when its first name is used.
"""

from __future__ import annotations

import importlib

__all__ = [
    "AlignReport",
    "Augmentation",
    "Batches",
    "DataError",
    "FER2013",
    "FER2013_FOLDERS",
    "FERPLUS10",
    "FERPLUS8",
    "FaceDataset",
    "LabelError",
    "LabelMap",
    "LabelSpace",
    "MICROEXPNET8",
    "SoftLabels",
    "align_soft_labels",
    "cache_folder",
    "contact_sheet",
    "default_faces",
    "draw_face",
    "label_map",
    "load_fer2013",
    "load_rendered_teacher",
    "load_soft_labels",
    "render_faces",
    "resize_images",
    "warp_images",
]

_MODULES = {
    "ferdata.augment": ("Augmentation",),
    "ferdata.batches": ("Batches",),
    "ferdata.cache": ("cache_folder",),
    "ferdata.dataset": ("FaceDataset",),
    "ferdata.errors": ("DataError",),
    "ferdata.labels": (
        "FER2013",
        "FER2013_FOLDERS",
        "FERPLUS10",
        "FERPLUS8",
        "LabelError",
        "LabelMap",
        "LabelSpace",
        "MICROEXPNET8",
        "label_map",
    ),
    "ferdata.rendered": ("contact_sheet", "default_faces", "draw_face", "render_faces"),
    "ferdata.rendered_teacher": ("load_rendered_teacher",),
    "ferdata.soft_labels": ("AlignReport", "SoftLabels", "align_soft_labels", "load_soft_labels"),
    "ferdata.sources.fer2013": ("load_fer2013",),
    "ferdata.warp": ("resize_images", "warp_images"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ferdata' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
