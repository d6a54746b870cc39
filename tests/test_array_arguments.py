"""Every public function, called with unusual arrays: strided, read-only, in Fortran order, float16,
big-endian, unaligned, or without rows.

The result must be that of an ordinary array, or a TypeError or ValueError that our own code raises.
A public name without a row here fails `test_every_public_name_has_a_row`.
"""

import importlib
import inspect
import pkgutil
import tempfile
import traceback
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ferdata
import tinycnn
from tinycnn import (
    Conv2D,
    Dense,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    formats,
    losses,
    metrics,
    models,
    testing,
)
from tinycnn.calibration import calibrate, fit_temperature
from tinycnn.classify import checked_images, classifications
from tinycnn.formats import agreement, crc32c, safetensors
from tinycnn.models import PUBLIC_NETWORKS
from tinycnn.train import Validation

N, K = 6, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2])
LOGITS = RNG.standard_normal((N, K)).astype(np.float32)
TEACHER = RNG.standard_normal((N, K)).astype(np.float32)
TARGETS = RNG.dirichlet(np.ones(K), N).astype(np.float32)
X = RNG.standard_normal((N, 8, 8, 1)).astype(np.float32)
VECTOR, GRADIENT = RNG.standard_normal((2, 20)).astype(np.float32)
IDS = np.array([f"face{k}" for k in range(N)])
SUBJECTS = np.array(["ann", "bob", "cyd", "ann", "bob", "cyd"])
PHOTO = RNG.integers(0, 256, (70, 60, 3), dtype=np.uint8)
BOX = np.array([10, 8, 40, 40])
FACE = RNG.integers(0, 256, (256, 256), dtype=np.uint8)
MATRICES = RNG.uniform(-1, 1, (N, 2, 3))
SPACE = ferdata.LabelSpace("three", ("happy", "sad", "surprise"))


def network(dtype=np.float32):
    layers = [Conv2D(3, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(K)]
    return Network(layers, InputSpec(8, 8, scaling="unit"), dtype=dtype, n_threads=2)


def quantized():
    return network().quantized(IMAGES)


def step(optimizer):
    def call(parameters, gradients):
        optimizer().step(parameters, gradients)
        return parameters

    return call


def clipped(gradients):
    return tinycnn.optim.clip_by_norm(gradients, 0.5), gradients


def backward(x, dlogits):
    one = network()
    logits = one.forward(x, training=True)
    return logits, one.backward(dlogits, input_gradient=True), one.gradient_vector


def loss_and_gradients(x, labels, soft_labels):
    one = network()
    loss = tinycnn.Distillation()
    return *one.loss_and_gradients(x, loss, labels, soft_labels), one.gradient_vector


def fitted(images, labels, soft_labels):
    one = network()
    options = dict(optimizer=tinycnn.Adam(1e-3), n_epochs=2)
    validation = Validation(images, labels, labels_as_rows(labels))
    loss = tinycnn.Distillation()
    batches = [(images, labels, soft_labels)]
    records = list(
        tinycnn.iter_epochs(one, Epochs(batches), loss=loss, validation=validation, **options)
    )
    return one.parameter_vector, [record.val_loss for record in records]


def fitted_at_once(images, labels, soft_labels):
    one = network()
    options = dict(epochs=2, batch_size=4, validation_data=(images, labels))
    history = tinycnn.fit(one, images, labels, soft_labels=soft_labels, **options)
    return one.parameter_vector, history["val_loss"]


def one_epoch(images, labels, soft_labels):
    batches = tinycnn.ArrayBatches(images, labels, soft_labels, batch_size=4)
    return [list(batch) for batch in batches(1)]


class Epochs:
    def __init__(self, batches):
        self.batches, self.n_batches = batches, len(batches)
        self.n_images = sum(len(images) for images, _, _ in batches)

    def __call__(self, epoch):
        return iter(self.batches)


def labels_as_rows(labels):
    return np.eye(K, dtype=np.float32)[labels]


def checked_gradients(tensor, gradient):
    loss = lambda: float((tensor.astype(np.float64) ** 2).sum() / 2)  # noqa: E731
    return list(testing.check_gradients(loss, {"x": tensor}, {"x": gradient}).values())


def checked_network(x):
    loss = tinycnn.CrossEntropy()
    errors = testing.check_network(network(np.float64), x, lambda z: loss(z, LABELS[: len(z)]))
    return max(errors.values()) < testing.TOLERANCE


def loss_through_a_network(x):
    loss, net = tinycnn.CrossEntropy(), network(np.float64)
    return testing.network_gradients(net, x, lambda z: loss(z, LABELS[: len(z)]))[0]()


def rebuilt(w):
    """A network made from given tensors, one of which is the array under test."""
    first = network()
    tensors, metadata = as_read(first)
    again = safetensors.network_from("here", {**tensors, "conv1.w": w}, metadata)
    return again.parameter_vector


def as_read(first):
    with tempfile.TemporaryDirectory() as folder:
        tinycnn.save(first, Path(folder) / "model")
        return safetensors.read(Path(folder) / "model")


def read_again(extra):
    """Save an extra tensor with a network and read it back from the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(safetensors.to_bytes(network(), {"a/b": extra}))
        return safetensors.read(path)[0]["a/b"]


def dataset(images, labels, targets, soft_labels):
    arrays = dict(images=images, labels=labels, targets=targets, soft_labels=soft_labels)
    faces = ferdata.FaceDataset(ids=IDS[: len(images)], label_space=SPACE, **arrays)
    return [getattr(faces, name) for name in arrays]


def plain_dataset():
    return ferdata.FaceDataset(
        images=IMAGES, ids=IDS, label_space=SPACE, labels=LABELS, rows=np.arange(N)
    )


def found(faces):
    return faces.images, faces.boxes


def framed_photos(boxes, of=lambda photos: photos.images, load=None):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERDATA_CACHE_DIR", str(Path(folder) / "cache"))
        Image.fromarray(PHOTO).save(Path(folder) / "photo.png")
        options = dict(framing="fer2013", cache_key="a test", n_workers=1, boxes=boxes)
        return of((load or ferdata.frame_photos)([Path(folder) / "photo.png"], **options))


def listed(labels, boxes):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERDATA_CACHE_DIR", str(Path(folder) / "cache"))
        Image.fromarray(PHOTO).save(Path(folder) / "photo.png")
        options = dict(source="photos", root=Path(folder), label_space=SPACE)
        files = ferdata.FaceFiles(paths=("photo.png",), labels=labels, **options)
        faces = ferdata.load_listed(files, framing="fer2013", n_workers=1, boxes=boxes)
        return faces.images, faces.labels


def soft(values, rows):
    options = dict(classes=SPACE.classes, ids=None, kind="logits", source="a test")
    floored = np.zeros(len(values), np.int64)
    return ferdata.SoftLabels(values=values, rows=rows, floored_per_row=floored, **options)


def saved_soft_labels(values, rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "teacher.npz"
        ferdata.save_soft_labels(path, values, "logits", SPACE.classes, rows=rows)
        again = ferdata.load_soft_labels(path)
        return again.values, again.rows


def as_lists(folds):
    return [[side.tolist() for side in fold] for fold in folds]


MAP = ferdata.label_map(SPACE, ferdata.LabelSpace("two", ("sad", "happy")), allow_lossy=True)
EYE = np.eye(K, dtype=np.int64)

ROWS = {
    # the engine
    "tinycnn.Network.forward": (lambda x: network().forward(x), X),
    "tinycnn.Network.backward": (backward, X, LOGITS),
    "tinycnn.Network.loss_and_gradients": (loss_and_gradients, X, LABELS, LOGITS),
    "tinycnn.Network.scale": (lambda images: network().scale(images), IMAGES),
    "tinycnn.Network.predict_logits": (lambda images: network().predict_logits(images), IMAGES),
    "tinycnn.Network.predict_proba": (lambda images: network().predict_proba(images), IMAGES),
    "tinycnn.Network.classify": (
        lambda images: [c.confidence for c in network().classify(images)],
        IMAGES,
    ),
    "tinycnn.Network.quantized": (
        lambda images: network().quantized(images).predict_logits(IMAGES),
        IMAGES,
    ),
    "tinycnn.QuantizedNetwork.forward": (lambda x: quantized().forward(x), X),
    "tinycnn.QuantizedNetwork.scale": (lambda images: quantized().scale(images), IMAGES),
    "tinycnn.QuantizedNetwork.predict_logits": (
        lambda images: quantized().predict_logits(images),
        IMAGES,
    ),
    "tinycnn.QuantizedNetwork.predict_integer_logits": (
        lambda images: quantized().predict_integer_logits(images).values,
        IMAGES,
    ),
    "tinycnn.QuantizedNetwork.predict_proba": (
        lambda images: quantized().predict_proba(images),
        IMAGES,
    ),
    "tinycnn.QuantizedNetwork.classify": (
        lambda images: [c.confidence for c in quantized().classify(images)],
        IMAGES,
    ),
    "tinycnn.evaluate": (
        lambda *arrays: list(vars(tinycnn.evaluate(network(), *arrays)).values()),
        *(IMAGES, LABELS, TARGETS),
    ),
    "tinycnn.fit": (fitted_at_once, IMAGES, LABELS, TEACHER),
    "tinycnn.iter_epochs": (fitted, IMAGES, LABELS, TEACHER),
    "tinycnn.ArrayBatches": (one_epoch, IMAGES, LABELS, TEACHER),
    "tinycnn.Adam": (step(tinycnn.Adam), VECTOR, GRADIENT),
    "tinycnn.AdamW": (step(tinycnn.AdamW), VECTOR, GRADIENT),
    "tinycnn.SGD": (step(tinycnn.SGD), VECTOR, GRADIENT),
    "tinycnn.RMSprop": (step(tinycnn.RMSprop), VECTOR, GRADIENT),
    "tinycnn.optim.optimizer_from_name": (
        step(lambda: tinycnn.optim.optimizer_from_name("sgd")),
        *(VECTOR, GRADIENT),
    ),
    "tinycnn.optim.clip_by_norm": (clipped, VECTOR),
    "tinycnn.softmax": (losses.softmax, LOGITS),
    "tinycnn.log_softmax": (losses.log_softmax, LOGITS),
    "tinycnn.CrossEntropy": (tinycnn.CrossEntropy(0.1), LOGITS, LABELS),
    "tinycnn.Distillation": (
        tinycnn.Distillation((4, 8), standardize=True),
        LOGITS,
        LABELS,
        TEACHER,
    ),
    "tinycnn.DecoupledDistillation": (tinycnn.DecoupledDistillation(), LOGITS, TARGETS, TEACHER),
    "tinycnn.RelationDistillation": (tinycnn.RelationDistillation(), LOGITS, LABELS, TEACHER),
    "tinycnn.losses.check_logits": (losses.check_logits, LOGITS),
    "tinycnn.losses.check_targets": (
        lambda targets: losses.check_targets(targets, (len(targets), K), LOGITS.dtype)[1],
        TARGETS,
    ),
    "tinycnn.losses.check_soft_labels": (
        lambda v: losses.check_soft_labels(v, (len(v), K), LOGITS.dtype),
        TEACHER,
    ),
    "tinycnn.losses.balanced_class_weights": (
        lambda targets: losses.balanced_class_weights(targets, K),
        TARGETS,
    ),
    "tinycnn.metrics.accuracy": (metrics.accuracy, LOGITS, LABELS),
    "tinycnn.metrics.check_classes": (
        lambda labels: metrics.check_classes("labels", labels, None, K),
        LABELS,
    ),
    "tinycnn.metrics.confusion_matrix": (
        lambda *arrays: metrics.confusion_matrix(*arrays, K),
        *(LABELS, LABELS[::-1].copy()),
    ),
    "tinycnn.metrics.per_class_recall": (metrics.per_class_recall, 2 * EYE + 1),
    "tinycnn.metrics.expected_calibration_error": (
        metrics.expected_calibration_error,
        *(TARGETS.astype(np.float64), LABELS),
    ),
    "tinycnn.calibration.fit_temperature": (fit_temperature, LOGITS, TARGETS),
    "tinycnn.calibration.calibrate": (
        lambda logits, labels: (found := calibrate(logits, labels)).nll + found.error,
        *(LOGITS, LABELS),
    ),
    "tinycnn.classify.checked_images": (
        lambda images: checked_images(images, InputSpec(8, 8)),
        IMAGES,
    ),
    "tinycnn.classify.classifications": (
        lambda probs: [c.confidence for c in classifications(probs, "abc", 0.5)],
        TARGETS,
    ),
    "tinycnn.testing.logit_error": (testing.logit_error, LOGITS, TEACHER),
    "tinycnn.testing.gradient_error": (testing.gradient_error, LOGITS, TEACHER),
    "tinycnn.testing.check_gradients": (
        checked_gradients,
        *(VECTOR.astype(np.float64), VECTOR.astype(np.float64)),
    ),
    "tinycnn.testing.check_network": (checked_network, X[:2].astype(np.float64)),
    "tinycnn.testing.network_gradients": (loss_through_a_network, X[:2].astype(np.float64)),
    "tinycnn.formats.safetensors.to_bytes": (read_again, VECTOR),
    "tinycnn.formats.safetensors.network_from": (rebuilt, network().parameters["conv1.w"]),
    "tinycnn.formats.agreement.check_probabilities": (
        lambda *arrays: agreement.check_probabilities("it", *arrays, 1.0),
        *(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True), LOGITS),
    ),
    "tinycnn.formats.agreement.check_agreement": (
        lambda *arrays: agreement.check_agreement("it", *arrays),
        *(LOGITS, LOGITS.copy()),
    ),
    "tinycnn.formats.crc32c.crc32c": (crc32c.crc32c, IMAGES),
    "tinycnn.formats.crc32c.masked_crc32c": (crc32c.masked_crc32c, IMAGES),
    # the faces
    "ferdata.FaceDataset": (dataset, IMAGES, LABELS, TARGETS, TEACHER),
    "ferdata.FaceDataset.select": (
        lambda which: plain_dataset().select(which).images,
        np.array([3, 1]),
    ),
    "ferdata.FaceDataset.with_soft_labels": (
        lambda values: plain_dataset().with_soft_labels(values).soft_labels,
        TEACHER,
    ),
    "ferdata.LabelMap.keeps": (MAP.keeps, LABELS),
    "ferdata.LabelMap.apply": (MAP.apply, LABELS[[0, 2, 3, 4]]),
    "ferdata.LabelMap.apply_columns": (MAP.apply_columns, TEACHER),
    "ferdata.FaceFiles": (lambda labels: listed(labels, BOX[None]), LABELS[:1]),
    "ferdata.SoftLabels": (lambda *arrays: soft(*arrays).values, TEACHER, np.arange(N)),
    "ferdata.align_soft_labels": (
        lambda *arrays: ferdata.align_soft_labels(soft(*arrays), plain_dataset())[0],
        *(TEACHER, np.arange(N)[::-1].copy()),
    ),
    "ferdata.average_soft_labels": (
        lambda values, weights: (
            ferdata.average_soft_labels(
                [soft(values, np.arange(N)), soft(TEACHER, np.arange(N))], weights
            ).values
        ),
        *(LOGITS, np.array([1.0, 3.0])),
    ),
    "ferdata.save_soft_labels": (saved_soft_labels, TEACHER, np.arange(N)),
    "ferdata.check_split": (
        lambda *arrays: ferdata.check_split(SUBJECTS, ferdata.Fold(*arrays)),
        *(np.array([0, 1, 3, 4]), np.array([2, 5])),
    ),
    "ferdata.split_by": (
        lambda *arrays: [
            part.images for part in ferdata.split_by(plain_dataset(), ferdata.Fold(*arrays))
        ],
        *(np.array([0, 1, 3, 4]), np.array([2, 5])),
    ),
    "ferdata.subject_folds": (
        lambda *arrays: as_lists(ferdata.subject_folds(*arrays, n_folds=3)),
        *(SUBJECTS, LABELS),
    ),
    "ferdata.leave_one_subject_out": (
        lambda subjects: as_lists(ferdata.leave_one_subject_out(subjects)),
        SUBJECTS,
    ),
    "ferdata.content_ids": (lambda images: ferdata.content_ids(images).tolist(), IMAGES),
    "ferdata.find_faces": (
        lambda photo, boxes: found(ferdata.find_faces(photo, boxes=boxes)),
        *(PHOTO, BOX[None]),
    ),
    "ferdata.FaceTracker.find": (
        lambda photo: found(ferdata.FaceTracker().find(photo, 0.0).faces),
        PHOTO,
    ),
    "ferdata.ProbabilitySmoothing.update": (
        lambda probs: ferdata.ProbabilitySmoothing().update(tuple(range(len(probs))), probs, 0.0),
        np.full((3, 4), 0.25),
    ),
    "ferdata.frame_face": (lambda *arrays: ferdata.frame_face(*arrays, "fer2013"), PHOTO, BOX),
    "ferdata.paper_face": (ferdata.paper_face, PHOTO, BOX),
    "ferdata.paper_training_crops": (ferdata.paper_training_crops, FACE),
    "ferdata.frame_photos": (framed_photos, BOX[None]),
    "ferdata.load_faces": (
        lambda boxes: framed_photos(boxes, lambda images: images, ferdata.load_faces),
        BOX[None],
    ),
    "ferdata.load_listed": (lambda boxes: listed(LABELS[:1], boxes), BOX[None]),
    "tinycnn.adjust_logits": (
        lambda counts: tinycnn.adjust_logits(network(), counts),
        np.arange(1.0, 1.0 + K),
    ),
    "ferdata.corrupted_faces": (
        lambda images: ferdata.corrupted_faces(images, "blur, 1 px"),
        IMAGES,
    ),
    "ferdata.resize_images": (lambda images: ferdata.resize_images(images, 20), IMAGES),
    "ferdata.warp_images": (
        lambda images, matrices, which: ferdata.warp_images(images, matrices, 10, which),
        *(IMAGES, MATRICES, LABELS),
    ),
}

LAYER_METHODS = [
    f"tinycnn.{layer}.{method}"
    for layer, methods in {
        "BatchNorm": ("parameter_shapes", "statistic_shapes"),
        "Conv2D": ("n_channels_out", "weight_shape"),
        "Dense": ("output_shape", "parameter_shapes", "unused_bias_shape"),
        "DepthwiseConv2D": ("n_channels_out", "weight_shape"),
        "Dropout": ("mask_shape",),
        "Flatten": ("output_shape",),
        "GlobalAveragePool2D": ("output_shape",),
        "Layer": ("statistic_shapes", "unused_bias_shape"),
        "PReLU": ("parameter_shapes",),
        "Residual": ("output_shape",),
        "ScaleShift": ("parameter_shapes",),
        "SpatialDropout2D": ("mask_shape", "output_shape"),
    }.items()
    for method in methods
]

LOSS_KINDS = ("Distillation", "DecoupledDistillation", "RelationDistillation")

NO_ARRAYS = {
    "what a network is made of": [
        *LAYER_METHODS,
        *(f"tinycnn.{n}" for n in ("Conv2D", "Dense", "Dropout", "Flatten", "MaxPool2D", "ReLU")),
        *(f"tinycnn.{n}" for n in ("LeakyReLU", "PReLU", "Sigmoid", "SpatialDropout2D", "Tanh")),
        *(f"tinycnn.{n}" for n in ("AveragePool2D", "BatchNorm", "DepthwiseConv2D")),
        *(f"tinycnn.{n}" for n in ("GlobalAveragePool2D", "Residual", "ScaleShift")),
        *("tinycnn.InputSpec", "tinycnn.Network", "tinycnn.Network.initialise"),
        "tinycnn.InputSpec.normalization",
    ],
    "numbers alone": [
        *(f"tinycnn.{n}" for n in ("Constant", "CosineWithWarmup", "OneCycle", "Step")),
        *("tinycnn.ReduceLROnPlateau", "tinycnn.ReduceLROnPlateau.after"),
        *("tinycnn.__version__", "tinycnn.losses.check_temperature"),
        "tinycnn.calibration.Calibration",
        *("tinycnn.Distillation.soft_scale", "tinycnn.DecoupledDistillation.at_epoch"),
        "tinycnn.losses.keep_target_options",
        *("tinycnn.models.microexpnet.microexpnet", "tinycnn.models.microexpnet.Variant"),
        "tinycnn.models.microexpnet.check_variant_and_size",
        *(f"tinycnn.models.public_networks.{n}" for n in PUBLIC_NETWORKS),
        "tinycnn.models.network_options.NetworkOptions",
        *("tinycnn.models.residual48.residual48", "tinycnn.models.residual48.Widths"),
        "tinycnn.models.face_networks.FaceNetwork",
        *("ferdata.Augmentation", "ferdata.Augmentation.matrices"),
        *("ferdata.Augmentation.of_strength", "ferdata.draw_face", "ferdata.render_faces"),
        *("ferdata.default_faces", "ferdata.random_folds", "ferdata.BATCHES_VERSION"),
        *("ferdata.FaceTracker", "ferdata.ProbabilitySmoothing"),
    ],
    "a shape": [
        *(f"tinycnn.init.{name}" for name in ("fans", "normal", "zeros")),
        *(f"tinycnn.init.{name}" for name in ("xavier_uniform", "xavier_normal")),
        *(f"tinycnn.init.{name}" for name in ("he_uniform", "he_normal")),
    ],
    "a network, a path or bytes": [
        *("tinycnn.load", "tinycnn.load_pretrained", "tinycnn.save"),
        *("tinycnn.with_classes", "tinycnn.Network.freeze"),
        *("tinycnn.load_quantized", "tinycnn.QuantizedNetwork", "tinycnn.QuantizedNetwork.summary"),
        *(f"tinycnn.formats.safetensors.quantized_{n}" for n in ("bytes", "from")),
        *(
            f"tinycnn.formats.quantized_tensors.{n}"
            for n in ("program_from", "tensors_and_description")
        ),
        *(
            f"tinycnn.formats.onnx_quantized.{n}"
            for n in ("QuantizedGraph", "quantized_model", "save_quantized")
        ),
        *(f"tinycnn.formats.onnx.{n}" for n in ("checked_model", "finished_model")),
        "tinycnn.formats.onnx.run_model",
        "tinycnn.formats.agreement.images_of_shape",
        *("tinycnn.formats.safetensors.read", "tinycnn.formats.onnx.save"),
        *("tinycnn.formats.safetensors.from_bytes", "tinycnn.formats.safetensors.load"),
        "tinycnn.formats.model_file.checkpoint_prefix",
        "tinycnn.formats.model_file.checkpoint_paths",
        *("tinycnn.formats.model_file.check_is_model", "tinycnn.formats.model_file.models_in"),
        "tinycnn.formats.pretrained.shipped_weights",
        *("tinycnn.formats.onnx.to_bytes", "tinycnn.formats.agreement.exportable"),
        *(f"tinycnn.formats.onnx_import.{n}" for n in ("import_network", "load_network")),
        *("tinycnn.formats.onnx_import.ImportedNetwork", "tinycnn.Network.folded"),
        *(f"tinycnn.formats.onnx_graph.{n}" for n in ("Graph", "add_scaling", "per_channel")),
        *(
            "tinycnn.formats.torch_weights.load_torch_weights",
            "tinycnn.formats.safetensors.check_work",
        ),
        *("tinycnn.formats.agreement.check_images", "tinycnn.formats.leveldb_table.read_table"),
        *("tinycnn.formats.protobuf.fields", "tinycnn.formats.protobuf.read_varint"),
        *("tinycnn.formats.tf_checkpoint.list_tensors", "tinycnn.formats.tf_checkpoint.TensorInfo"),
        "tinycnn.formats.tf_checkpoint.load_network",
        "tinycnn.formats.tf_checkpoint.read_tensors",
        *(f"ferdata.{n}" for n in ("cache_folder", "check", "is_packed", "list_files", "open")),
        *(f"ferdata.{n}" for n in ("load_fer2013", "load_packed", "load_soft_labels")),
        *("ferdata.read_photo", "ferdata.recognise", "ferdata.load_teachers", "ferdata.read_film"),
        "ferdata.open_training_faces",
    ],
    "a FaceDataset, whose arrays are checked when it is made": [
        *(f"ferdata.{n}" for n in ("Batches", "TrialFaces", "TrialFaces.parts", "contact_sheet")),
        "ferdata.make_batches",
        *(f"ferdata.{n}" for n in ("check_dataset", "save_packed", "shared_subjects")),
        *("ferdata.refuse_shared_subjects", "ferdata.load_rendered_teacher"),
        "ferdata.fit_soft_labels",
        *("ferdata.TrainingFaces", "ferdata.with_validation"),
        *(f"ferdata.FaceDataset.{n}" for n in ("in_split", "labelled", "to_label_space")),
        "ferdata.FaceDataset.with_classes",
        *("ferdata.FaceDataset.content_hash", "ferdata.FaceDataset.rows_of_split"),
    ],
    "names": [
        *("ferdata.LabelSpace", "ferdata.LabelSpace.index", "ferdata.label_map"),
        *("ferdata.LabelSpace.canonical_name", "ferdata.TrialFaces.canonical_name"),
        *("ferdata.LabelMap", "ferdata.FRAMINGS", "ferdata.FaceFiles.summary"),
        "ferdata.CORRUPTIONS",
    ],
    "what a function returns": [
        *("tinycnn.Classification", "tinycnn.losses.LossTerms", "tinycnn.Network.summary"),
        "tinycnn.Network.load_kernels",
        *("tinycnn.EpochRecord", "tinycnn.EpochRecord.to_dict", "tinycnn.StepRecord"),
        *("tinycnn.Evaluation", "tinycnn.History", "tinycnn.Summary"),
        *("ferdata.AlignReport", "ferdata.Diagnosis", "ferdata.Faces", "ferdata.Finding"),
        *("ferdata.Fold", "ferdata.FramedPhotos", "ferdata.Recognition"),
        *("ferdata.Frame", "ferdata.TrackedFaces"),
        *(f"ferdata.Diagnosis.{name}" for name in ("as_html", "as_json", "as_text")),
    ],
    "arrays that were checked, or are when they are used": [
        *("tinycnn.Validation", "tinycnn.Validation.check"),
        "tinycnn.formats.onnx_graph.Graph",
        *("tinycnn.losses.LossInputs", "ferdata.Mixing"),
        *("tinycnn.losses.batch_mean", "tinycnn.losses.plain_array"),
        "tinycnn.losses.weighted_mean",
    ],
    "a base class, or a protocol": [
        *("tinycnn.Batches", "tinycnn.Loss", "tinycnn.Optimizer", "tinycnn.Schedule"),
        *(f"tinycnn.Callback{method}" for method in ("", ".on_epoch", ".on_step")),
        *(f"tinycnn.Layer{method}" for method in ("", ".output_shape", ".parameter_shapes")),
        *(f"tinycnn.CustomLayer{method}" for method in ("", ".forward", ".backward")),
    ],
    "what a loss defines for `Loss.__call__`, which has a row": [
        *(f"tinycnn.{kind}.value_and_gradient" for kind in LOSS_KINDS),
    ],
    "modules, walked below": ["tinycnn.models", "tinycnn.sweep", "tinycnn.testing"],
    "figures of plain numbers": ["tinycnn.plots"],
}


def public_names():
    """Full names of `__all__`, of the functions and classes that the modules of the engine define,
    and of the public methods of classes in `__all__`."""
    names = set()
    for package in (tinycnn, ferdata):
        for name in package.__all__:
            value = getattr(package, name)
            if isinstance(value, ferdata.LabelSpace) or is_error(value):
                continue
            names.add(f"{package.__name__}.{name}")
            if inspect.isclass(value) and value.__module__.split(".")[-1] not in WALKED:
                names |= {
                    f"{package.__name__}.{name}.{method}"
                    for method, function in vars(value).items()
                    if not method.startswith("_")
                    and (inspect.isfunction(function) or isinstance(function, classmethod))
                    and not method == "config"
                }
    homes = {getattr(tinycnn, name) for name in tinycnn.__all__ if name != "__version__"}
    for module in walked_modules():
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", None) == module.__name__ and name[0] != "_"
            if ours and callable(value) and value not in homes and not is_error(value):
                if inspect.isfunction(value) or inspect.isclass(value):
                    names.add(f"{module.__name__}.{name}")
    return names


WALKED = ("testing", "losses", "optim", "metrics", "init", "calibration", "classify")


def walked_modules():
    names = [f"tinycnn.{name}" for name in WALKED]
    for package in (models, formats):
        modules = pkgutil.iter_modules(package.__path__)
        names += [f"{package.__name__}.{module.name}" for module in modules]
    return [importlib.import_module(name) for name in names]


def is_error(value):
    return inspect.isclass(value) and issubclass(value, Exception)


def test_every_public_name_has_a_row():
    excused = {name for names in NO_ARRAYS.values() for name in names}
    assert not excused & set(ROWS)
    assert public_names() - set(ROWS) == excused & public_names()
    assert excused <= public_names()
    assert {"tinycnn.softmax", "tinycnn.Network.forward", "ferdata.warp_images"} <= public_names()


def strided(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def backwards(array):
    return array[::-1].copy()[::-1]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def big_endian(array):
    return array.astype(array.dtype.newbyteorder(">"))


def unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    shifted = memory[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


def fortran(array):
    return array.copy(order="F")


def float16(array):
    return array.astype(np.float16) if array.dtype.kind == "f" else None


KINDS = (strided, backwards, read_only, fortran, big_endian, unaligned, float16)


def flat(result):
    """All numbers of a result, whatever its type."""
    if result is None:
        return []
    if isinstance(result, (list, tuple)):
        return [number for part in result for number in flat(part)]
    return np.asarray(result).ravel().tolist()


def outcome(call, arrays):
    """The numbers of the result, or None for an error that our own code raises."""
    try:
        return flat(call(*arrays))
    except (TypeError, ValueError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        ours = [Path(package.__file__).parent for package in (tinycnn, ferdata)]
        is_ours = any(folder in Path(last.filename).parents for folder in ours)
        assert is_ours and last.line.startswith("raise"), f"{last}: {error!r}"
        return None
    except (testing.GradientError, agreement.ExportError):
        return None


@pytest.mark.parametrize("name", ROWS)
def test_arrays_of_every_kind(name):
    call, *arrays = ROWS[name]
    plain = outcome(call, [array.copy() for array in arrays])
    assert plain is not None, "the row's own arrays are refused"
    for k, array in enumerate(arrays):
        for kind in KINDS:
            given, expected = kind(array), plain
            if given is None:
                continue
            if given.dtype == np.float16:
                rounded = given.astype(array.dtype)
                expected = outcome(call, [*copies(arrays[:k]), rounded, *copies(arrays[k + 1 :])])
            before = given.copy()
            numbers = outcome(call, [*copies(arrays[:k]), given, *copies(arrays[k + 1 :])])
            if numbers is None:
                continue
            error = f"argument {k}, {kind.__name__}"
            if numbers and isinstance(numbers[0], str):
                assert numbers == expected, error
            else:
                close = pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
                assert numbers == close, error
            if array is not VECTOR:  # the parameter vector, which optimizers update in place
                np.testing.assert_array_equal(given, before, err_msg=f"{error}: was changed")


CHECKSUMS = {name for name in ROWS if "crc32c" in name}
OF_TESTS = {name for name in ROWS if name.startswith(("tinycnn.testing.", "tinycnn.formats."))}
"""These compare or write what other functions have computed."""


@pytest.mark.parametrize("name", [name for name in ROWS if name not in OF_TESTS | CHECKSUMS])
def test_arrays_with_masked_values_are_refused(name):
    """Their masks would be ignored, and what is under them taken for data."""
    call, *arrays = ROWS[name]
    for k, array in enumerate(arrays):
        masked = np.ma.masked_array(array.copy(), mask=np.zeros(array.shape, bool))
        given = [*copies(arrays[:k]), masked, *copies(arrays[k + 1 :])]
        masked[(0,) * array.ndim] = np.ma.masked
        with pytest.raises(TypeError, match="has masked values, and every value would be used"):
            call(*given)
        given[k] = np.ma.masked_array(array.copy())  # no value is masked
        outcome(call, given)


def copies(arrays):
    return [array.copy() for array in arrays]


@pytest.mark.parametrize("name", ROWS)
def test_arrays_without_rows(name):
    """All arrays empty, then each one alone: a result for no images, or an error that says so."""
    call, *arrays = ROWS[name]
    outcome(call, [array[:0] for array in arrays])
    for k in range(len(arrays)):
        outcome(call, [*copies(arrays[:k]), arrays[k][:0], *copies(arrays[k + 1 :])])


# ---- arrays are not copied without need -----------------------------------------------------


class Seen(Exception):
    """Records the arrays that the computing code gets."""


@pytest.fixture
def runner(monkeypatch):
    """A network whose backend records the arrays it is called with."""
    one, seen = network(), []

    def see(name):
        real = getattr(one._run_training, name)

        def call(*arguments):
            seen.extend(a for a in arguments if isinstance(a, np.ndarray))
            return real(*arguments)

        monkeypatch.setattr(one._run, name, call)

    for name in ("predict", "forward", "backward", "scale_images"):
        see(name)
    return one, seen


def test_a_network_computes_on_the_arrays_that_it_is_given(runner):
    one, seen = runner
    images = IMAGES[..., None].copy()
    x, dlogits = X.copy(), LOGITS.copy()
    one.scale(images)
    one.forward(x)
    one.forward(x, training=True)
    one.backward(dlogits)
    (first, _, made), (second, third, fourth) = seen[:3], seen[3:]
    assert np.shares_memory(first, images) and made.shape == x.shape
    assert second is third is x and fourth is dlogits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_compute_on_the_arrays_that_they_are_given(dtype):
    logits, targets = LOGITS.astype(dtype), TARGETS.astype(dtype)
    assert losses.check_logits(logits) is logits
    inputs = tinycnn.Distillation().check(targets, logits, logits.shape, logits.dtype)
    assert inputs.targets is targets and inputs.soft_labels is logits
    assert tinycnn.CrossEntropy().check(LABELS, None, logits.shape, logits.dtype)[0] is LABELS


@pytest.mark.parametrize("optimizer", [tinycnn.Adam(), tinycnn.SGD()])
def test_an_optimizer_computes_on_the_arrays_that_it_is_given(monkeypatch, optimizer):
    def see(*arrays):
        raise Seen(*arrays)

    monkeypatch.setattr(optimizer, "_arguments", see)
    parameters, gradients = VECTOR.copy(), GRADIENT.copy()
    with pytest.raises(Seen) as seen:
        optimizer.step(parameters, gradients)
    for used, given in zip(seen.value.args, (parameters, gradients)):
        assert np.shares_memory(used, given) and used.shape == given.shape


@pytest.mark.kernels
def test_predicting_takes_less_memory_than_a_copy_of_the_images():
    one = network()
    images = np.zeros((20_000, 8, 8), np.uint8)
    one.predict_logits(images[:1000])
    x = np.zeros((20_000, 8, 8, 1), np.float32)
    for predict, array in ((one.predict_logits, images), (one.forward, x)):
        tracemalloc.start()
        predict(array)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        answer = 20_000 * K * 4
        assert peak < answer + array.nbytes / 2, peak


def test_warping_and_finding_faces_copy_no_picture():
    from ferdata.warp import _checked

    images, matrices = IMAGES.copy(), MATRICES.copy()
    found = _checked(images, matrices, 10, LABELS)
    assert all(a is b for a, b in zip(found, (images, matrices, LABELS)))
    faces = ferdata.FaceDataset(images=images, ids=IDS)
    assert np.shares_memory(faces.images, images)
