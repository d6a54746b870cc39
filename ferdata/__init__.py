"""ferdata: faces with named expression labels, for networks that want plain arrays.

Everything public can be imported from here; a module is loaded when one of its names is first used.
"""

# ruff: noqa: F401  (the imports below are for type checkers)
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferdata.augment import Augmentation
    from ferdata.batches import Batches
    from ferdata.cache import cache_folder
    from ferdata.dataset import FaceDataset
    from ferdata.dataset_loading import Recognition, list_files, load_listed, open, recognise
    from ferdata.doctor import Diagnosis, check, check_dataset
    from ferdata.doctor_checks import Finding
    from ferdata.drawing.face import draw_face
    from ferdata.errors import DataError
    from ferdata.faces import (
        FRAMINGS,
        Faces,
        find_faces,
        frame_face,
        paper_face,
        paper_training_crops,
    )
    from ferdata.folds import (
        Fold,
        check_split,
        leave_one_subject_out,
        random_folds,
        refuse_shared_subjects,
        shared_subjects,
        split_by,
        subject_folds,
    )
    from ferdata.image_hashes import content_ids
    from ferdata.labels import (
        CK48,
        CK_PLUS,
        FER2013,
        FER2013_FOLDERS,
        FERPLUS8,
        FERPLUS10,
        JAFFE,
        MICROEXPNET8,
        OULU_CASIA,
        RAF_DB,
        LabelError,
        LabelMap,
        LabelSpace,
        label_map,
    )
    from ferdata.mixing import Mixing
    from ferdata.packed import is_packed, load_packed, save_packed
    from ferdata.photo import read_photo
    from ferdata.preprocess import FramedPhotos, frame_photos, load_faces
    from ferdata.rendered import contact_sheet, default_faces, render_faces
    from ferdata.rendered_teacher import load_rendered_teacher
    from ferdata.soft_labels import (
        AlignReport,
        SoftLabels,
        align_soft_labels,
        average_soft_labels,
        load_soft_labels,
        load_teachers,
        save_soft_labels,
    )
    from ferdata.sources.face_files import FaceFiles
    from ferdata.sources.fer2013 import load_fer2013
    from ferdata.training_faces import TrainingFaces, open_training_faces, with_validation
    from ferdata.trial_faces import TrialFaces
    from ferdata.warp import resize_images, warp_images

# The same names, for __getattr__.
_NAMES = {
    "augment": "Augmentation",
    "batches": "Batches",
    "cache": "cache_folder",
    "dataset": "FaceDataset",
    "dataset_loading": "Recognition list_files load_listed open recognise",
    "doctor": "Diagnosis check check_dataset",
    "doctor_checks": "Finding",
    "drawing.face": "draw_face",
    "errors": "DataError",
    "faces": "FRAMINGS Faces find_faces frame_face paper_face paper_training_crops",
    "folds": "Fold check_split leave_one_subject_out random_folds refuse_shared_subjects "
    "shared_subjects split_by subject_folds",
    "image_hashes": "content_ids",
    "labels": "CK48 CK_PLUS FER2013 FER2013_FOLDERS FERPLUS10 FERPLUS8 JAFFE LabelError LabelMap "
    "LabelSpace MICROEXPNET8 OULU_CASIA RAF_DB label_map",
    "mixing": "Mixing",
    "packed": "is_packed load_packed save_packed",
    "photo": "read_photo",
    "preprocess": "FramedPhotos frame_photos load_faces",
    "rendered": "contact_sheet default_faces render_faces",
    "rendered_teacher": "load_rendered_teacher",
    "soft_labels": "AlignReport SoftLabels align_soft_labels average_soft_labels load_soft_labels "
    "load_teachers save_soft_labels",
    "sources.face_files": "FaceFiles",
    "sources.fer2013": "load_fer2013",
    "training_faces": "TrainingFaces open_training_faces with_validation",
    "trial_faces": "TrialFaces",
    "warp": "resize_images warp_images",
}
_MODULE_OF = {name: f"ferdata.{module}" for module in _NAMES for name in _NAMES[module].split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ferdata' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
