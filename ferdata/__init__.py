"""ferdata: faces with named expression labels, for networks that want plain arrays.

Everything public is importable from here; a module is loaded when its first name is used.
"""

from __future__ import annotations

import importlib

__all__ = [
    "AlignReport",
    "Augmentation",
    "Batches",
    "CK48",
    "CK_PLUS",
    "DataError",
    "Diagnosis",
    "FER2013",
    "FER2013_FOLDERS",
    "FERPLUS10",
    "FERPLUS8",
    "FRAMINGS",
    "FaceDataset",
    "FaceFiles",
    "Faces",
    "Finding",
    "Fold",
    "FramedPhotos",
    "JAFFE",
    "LabelError",
    "LabelMap",
    "LabelSpace",
    "MICROEXPNET8",
    "Mixing",
    "OULU_CASIA",
    "RAF_DB",
    "Recognition",
    "SoftLabels",
    "TrainingFaces",
    "TrialFaces",
    "align_soft_labels",
    "average_soft_labels",
    "cache_folder",
    "check",
    "check_dataset",
    "check_split",
    "contact_sheet",
    "content_ids",
    "default_faces",
    "draw_face",
    "find_faces",
    "frame_face",
    "frame_photos",
    "is_packed",
    "label_map",
    "leave_one_subject_out",
    "list_files",
    "load_faces",
    "load_fer2013",
    "load_listed",
    "load_packed",
    "load_rendered_teacher",
    "load_soft_labels",
    "load_teachers",
    "open",
    "open_training_faces",
    "paper_face",
    "paper_training_crops",
    "random_folds",
    "read_photo",
    "recognise",
    "refuse_shared_subjects",
    "render_faces",
    "resize_images",
    "save_packed",
    "save_soft_labels",
    "shared_subjects",
    "split_by",
    "subject_folds",
    "warp_images",
    "with_validation",
]

_MODULES = {
    "ferdata.augment": ("Augmentation",),
    "ferdata.batches": ("Batches",),
    "ferdata.cache": ("cache_folder",),
    "ferdata.dataset": ("FaceDataset",),
    "ferdata.doctor": ("Diagnosis", "check", "check_dataset"),
    "ferdata.doctor_checks": ("Finding",),
    "ferdata.errors": ("DataError",),
    "ferdata.faces": (
        "FRAMINGS",
        "Faces",
        "find_faces",
        "frame_face",
        "paper_face",
        "paper_training_crops",
    ),
    "ferdata.folds": (
        "Fold",
        "check_split",
        "leave_one_subject_out",
        "random_folds",
        "refuse_shared_subjects",
        "shared_subjects",
        "split_by",
        "subject_folds",
    ),
    "ferdata.image_hashes": ("content_ids",),
    "ferdata.labels": (
        "CK48",
        "CK_PLUS",
        "FER2013",
        "FER2013_FOLDERS",
        "FERPLUS10",
        "FERPLUS8",
        "JAFFE",
        "LabelError",
        "LabelMap",
        "LabelSpace",
        "MICROEXPNET8",
        "OULU_CASIA",
        "RAF_DB",
        "label_map",
    ),
    "ferdata.mixing": ("Mixing",),
    "ferdata.dataset_loading": (
        "Recognition",
        "list_files",
        "load_listed",
        "open",
        "recognise",
    ),
    "ferdata.packed": (
        "is_packed",
        "load_packed",
        "save_packed",
    ),
    "ferdata.photo": ("read_photo",),
    "ferdata.preprocess": ("FramedPhotos", "frame_photos", "load_faces"),
    "ferdata.rendered": (
        "contact_sheet",
        "default_faces",
        "draw_face",
        "render_faces",
    ),
    "ferdata.rendered_teacher": ("load_rendered_teacher",),
    "ferdata.soft_labels": (
        "AlignReport",
        "SoftLabels",
        "align_soft_labels",
        "average_soft_labels",
        "load_soft_labels",
        "load_teachers",
        "save_soft_labels",
    ),
    "ferdata.sources.face_files": ("FaceFiles",),
    "ferdata.sources.fer2013": ("load_fer2013",),
    "ferdata.training_faces": (
        "TrainingFaces",
        "open_training_faces",
        "with_validation",
    ),
    "ferdata.trial_faces": ("TrialFaces",),
    "ferdata.warp": (
        "resize_images",
        "warp_images",
    ),
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
