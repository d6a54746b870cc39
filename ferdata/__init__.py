"""ferdata: faces with named expression labels, for networks that want plain arrays.

Everything public can be imported from here; a module is loaded when one of its names is first used.
"""

# ruff: noqa: F401  (the imports below are for type checkers, and for _listed_above)
from __future__ import annotations

import ast
import importlib
import inspect
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferdata.augment import Augmentation
    from ferdata.batches import Batches
    from ferdata.corruptions import CORRUPTIONS, corrupted_faces
    from ferdata.dataset import FaceDataset
    from ferdata.doctor.checks import Finding
    from ferdata.doctor.diagnosis import Diagnosis, check, check_dataset
    from ferdata.drawing.face import draw_face
    from ferdata.errors import DataError
    from ferdata.files.cache import cache_folder
    from ferdata.films.frames import Frame, read_film
    from ferdata.films.tracking import FaceTracker, ProbabilitySmoothing, TrackedFaces
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
    from ferdata.photos.faces import (
        FRAMINGS,
        Faces,
        find_faces,
        frame_face,
        paper_face,
        paper_training_crops,
    )
    from ferdata.photos.photo import read_photo
    from ferdata.photos.preprocess import FramedPhotos, frame_photos, load_faces
    from ferdata.sources.dataset_loading import (
        Recognition,
        list_files,
        load_listed,
        open,
        recognise,
    )
    from ferdata.sources.face_files import FaceFiles
    from ferdata.sources.fer2013 import load_fer2013
    from ferdata.sources.packed import is_packed, load_packed, save_packed
    from ferdata.sources.rendered import contact_sheet, default_faces, render_faces
    from ferdata.teachers.fitted_teacher import fit_soft_labels
    from ferdata.teachers.rendered_teacher import load_rendered_teacher
    from ferdata.teachers.several_teachers import average_soft_labels, load_teachers
    from ferdata.teachers.soft_labels import (
        AlignReport,
        SoftLabels,
        align_soft_labels,
        load_soft_labels,
        save_soft_labels,
    )
    from ferdata.training.batch_options import BATCHES_VERSION, make_batches
    from ferdata.training.training_faces import TrainingFaces, open_training_faces, with_validation
    from ferdata.training.trial_faces import TrialFaces
    from ferdata.warp import resize_images, warp_images


def _listed_above() -> dict[str, str]:
    """{public name: its module}: the imports above, which only type checkers run."""
    tree = ast.parse(inspect.getsource(sys.modules[__name__]))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = (node for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name: f"{node.module}" for node in found for alias in node.names}


_MODULE_OF = _listed_above()

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ferdata' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
