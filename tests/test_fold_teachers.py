"""Teachers that a sweep trains in its folds: what they see, and when their students start."""

import shutil
import threading
from dataclasses import asdict

import numpy as np
import pytest
from toy_sweep import N_TRAIN, TEACHER, TOY, ToySource, epochs_trained, toy_images, untimed

import ferdata
from tinycnn import checkpoint, sweep
from tinycnn.formats import safetensors
from tinycnn.sweep import Trial, soft_labels, trial, waiting
from tinycnn.sweep.folder import SweepFolder

TRAINED = dict(teacher_network="microexpnet-M", teacher_epochs=2)
TRIALS = sweep.grid(**TOY, loss=["none", "kd"], temperature=[2, 8], **TRAINED)
THE_TEACHER, STUDENTS = TRIALS[0], TRIALS[2:]
NAME = THE_TEACHER.name("toy")


def run(folder, source=None, trials=TRIALS, **options):
    return sweep.run(trials, source or ToySource(), folder, **{"backend": "numpy", **options})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(the outcome, the folder) of TRIALS in one process, with all networks."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return run(folder, n_processes=1, keep_models=True), SweepFolder(folder)


def times_trained(log):
    """How often each epoch of the teacher was trained."""
    epochs = [epoch for seed, _, epoch, _ in epochs_trained(log) if seed == TEACHER]
    return [epochs.count(epoch) for epoch in range(TRAINED["teacher_epochs"])]


# ---- what a teacher sees ---------------------------------------------------------------------

N_PEOPLE, N_EACH = 9, 4


def people(seed=0, unlike=()):
    """Faces whose grey level says who is shown: that of person k is 20 k + 20.  The images in
    `unlike` are noise instead."""
    person = np.repeat(np.arange(N_PEOPLE), N_EACH)
    images = np.broadcast_to((20 * person + 20)[:, None, None], (len(person), 84, 84)).copy()
    images[:, :4, :4] = 255  # without a pattern, the network would warn
    images[list(unlike)] = np.random.default_rng(seed).integers(0, 256, (len(unlike), 84, 84))
    return ferdata.FaceDataset(
        images=images.astype(np.uint8),
        ids=np.arange(len(person)).astype(str),
        label_space=ferdata.MICROEXPNET8,
        labels=np.arange(len(person)) % 8,
        subjects=np.char.add("S", person.astype(str)),
    )


def divided(faces):
    return ferdata.TrialFaces(faces, protocol="subject", n_folds=3)


def shown(images):
    """Who is shown: the middle of an image says it, even if it was moved, turned or resized."""
    middle = images.shape[1] // 2
    return {f"S{level // 20 - 1}" for level in map(int, images[:, middle, middle])}


@pytest.mark.parametrize(
    "fold, network", [(0, "microexpnet-M"), (1, "microexpnet-M"), (2, "residual48")]
)
def test_no_person_of_the_validation_and_test_part_is_among_the_images_of_a_teacher(
    fold, network, tmp_path, monkeypatch
):
    asked = {}

    class Recorded(trial.TrainingRun):
        def __init__(self, options, data, *words, **more):
            asked.update(data=data)
            super().__init__(options, data, *words, **more)

    monkeypatch.setattr(trial, "TrainingRun", Recorded)
    source = divided(people())
    teacher = Trial(fold=fold, teacher_network=network, teacher_epochs=1).teacher()
    sweep.run_trial(teacher, source, tmp_path, backend="numpy")
    assert asked["data"].validation is None
    parts = source.parts(teacher)
    chunks = [*(batch[0] for batch in asked["data"].batches(0)), *parts.training_images()]
    assert {chunk.shape[1:] for chunk in chunks} == {(teacher.input_px, teacher.input_px)}
    trained_on = set.union(*map(shown, chunks))
    held_out = [shown(part.images) for part in (parts.validation, parts.test)]
    assert trained_on and all(held_out)
    assert not trained_on & (held_out[0] | held_out[1])
    assert len(trained_on) + len(held_out[0]) + len(held_out[1]) == N_PEOPLE
    soft = soft_labels.from_bytes((tmp_path / soft_labels.FILE).read_bytes())
    assert soft.shape == (sum(map(len, parts.training_images())), 8)


def test_other_images_of_the_validation_and_test_people_change_nothing_of_a_teacher(tmp_path):
    teacher = Trial(fold=1, **TRAINED).teacher()
    train, *others = divided(people())._rows(1)
    contents = []
    for unlike in ((), np.concatenate(others), train[:1]):
        folder = tmp_path / str(len(contents))
        sweep.run_trial(teacher, divided(people(unlike=unlike)), folder, backend="numpy")
        best = (folder / checkpoint.BEST).read_bytes()
        contents.append((best, (folder / soft_labels.FILE).read_bytes()))
    assert contents[0] == contents[1] != contents[2]


def test_the_soft_labels_are_the_mean_over_an_image_and_its_mirror_image(undisturbed):
    _, folder = undisturbed
    found = soft_labels.from_bytes(folder.soft_labels(NAME))
    network = safetensors.load(folder.model_path(NAME), backend="numpy")
    images = toy_images(N_TRAIN, 0)[0]
    two = [network.predict_logits(np.ascontiguousarray(x)) for x in (images, images[..., ::-1])]
    assert found.dtype == np.float32 and found.shape == (N_TRAIN, 3)
    np.testing.assert_allclose(found, np.mean(two, axis=0), rtol=1e-5, atol=1e-5)
    assert np.abs(two[0] - two[1]).max() > 1e-3  # the toy images are not symmetric


def test_students_get_the_soft_labels_in_the_order_of_their_training_images():
    source = divided(people())
    student = Trial(**TOY, fold=2, augment=False, **TRAINED)
    n = len(source.parts(student.teacher()).training)
    soft = np.random.default_rng(0).normal(0, 1, (n, 8)).astype(np.float32)
    parts = source.parts(student, 1, soft)
    level_of = {row.tobytes(): image[42, 42] for row, image in zip(soft, parts.training.images)}
    for images, _, given in parts.batches(0):
        assert [level_of[row.tobytes()] for row in given] == images[:, 42, 42].tolist()
    with pytest.raises(ferdata.DataError, match="soft_labels: expected floats of shape"):
        source.parts(student, 1, soft[1:])


# ---- when students start ---------------------------------------------------------------------


def test_a_grid_has_its_teachers_once_and_first():
    assert [t.is_teacher for t in TRIALS] == [True, False, False, False]
    assert {t.teacher() for t in STUDENTS} == {THE_TEACHER} and TRIALS[1].teacher() is None
    in_folds = sweep.grid(**TOY, fold=[0, 1], seed=[0, 1], **TRAINED)
    assert [(t.fold, t.seed) for t in in_folds if t.is_teacher] == [(0, 0), (1, 0)]
    assert sum(not t.is_teacher for t in in_folds) == 4
    found = asdict(THE_TEACHER)
    assert (found["size"], found["loss"], found["epochs"]) == ("M", "none", 2)
    assert "as teacher" in THE_TEACHER.describe()


def test_a_teacher_is_trained_once_before_its_students_with_any_number_of_processes(
    undisturbed, tmp_path
):
    log, told = tmp_path / "log", []
    source = ToySource(log, pause_s=0.05)
    outcome = run(
        tmp_path / "s", source, TRIALS[::-1], n_processes=2, progress=lambda *n: told.append(n)
    )
    assert untimed(outcome) == untimed(undisturbed[0]) and not outcome.failures
    assert told == [(n, 0, 4) for n in range(5)]
    assert times_trained(log) == [1, 1]
    order = [
        TEACHER if seed == TEACHER else with_teacher
        for seed, with_teacher, *_ in epochs_trained(log)
    ]
    assert order.index(1) > max(k for k, who in enumerate(order) if who == TEACHER)
    folder = SweepFolder(tmp_path / "s")
    assert folder.soft_labels(NAME) == undisturbed[1].soft_labels(NAME)
    assert not list((tmp_path / "s" / "work").iterdir())


def test_an_interrupted_teacher_resumes_with_the_same_bits(tmp_path):
    """Both in this process: NumPy's libraries may use several threads here, and so other sums."""

    def interrupt(n_epochs):
        raise InterruptedError

    whole, parted, log = tmp_path / "whole", tmp_path / "parted", tmp_path / "log"
    sweep.run_trial(THE_TEACHER, ToySource(), whole, backend="numpy")
    with pytest.raises(InterruptedError):
        sweep.run_trial(THE_TEACHER, ToySource(), parted, backend="numpy", on_epoch=interrupt)
    assert not (parted / soft_labels.FILE).exists()
    sweep.run_trial(THE_TEACHER, ToySource(log), parted, backend="numpy")
    assert times_trained(log) == [0, 1]
    assert (parted / soft_labels.FILE).read_bytes() == (whole / soft_labels.FILE).read_bytes()


def copied(undisturbed, tmp_path):
    shutil.copytree(undisturbed[1].path, tmp_path / "s")
    return SweepFolder(tmp_path / "s")


def test_soft_labels_that_are_not_those_of_the_result_are_refused(undisturbed, tmp_path):
    folder = copied(undisturbed, tmp_path)
    path = folder.soft_labels_path(NAME)
    good = path.read_bytes()
    folder.result_path(STUDENTS[0].name("toy")).unlink()
    for bad in (b"", good + b"0", good[:-1] + bytes([good[-1] ^ 1])):
        path.write_bytes(bad)
        with pytest.raises(sweep.SweepFolderError, match="its sha256 is not the one in .*remove"):
            folder.soft_labels(NAME)
    with pytest.raises(sweep.SweepError, match=f"{NAME}.npy: not this teacher's soft labels: its"):
        run(folder.path)
    path.unlink()  # what the message says
    log = tmp_path / "log"
    assert untimed(run(folder.path, ToySource(log))) == untimed(undisturbed[0])
    assert times_trained(log) == [1, 1] and path.read_bytes() == good


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "not an array"),
        (soft_labels.to_bytes(np.zeros(3, np.float32)), r"found float32 \(3,\)"),
        (soft_labels.to_bytes(np.zeros((2, 3))), "found float64"),
        (soft_labels.to_bytes(np.full((2, 3), np.nan, np.float32)), "expected finite"),
    ],
)
def test_other_arrays_are_no_soft_labels(content, words):
    with pytest.raises(ValueError, match=words):
        soft_labels.from_bytes(content)


def test_the_students_of_a_teacher_that_fails_fail_too_and_are_retried(undisturbed, tmp_path):
    mended = tmp_path / "mended"
    source = ToySource(tmp_path / "log", bad_seed=TEACHER, unless=mended)
    outcome = run(tmp_path / "s", source, n_processes=2)
    assert list(outcome.results) == [TRIALS[1].name("toy")]
    errors = {
        name: outcome.failures[name]
        for name in sweep.names(TRIALS, "toy")
        if name in outcome.failures
    }
    told = f"its teacher {NAME} failed: ValueError: epoch 1 is bad"
    assert list(errors.values()) == ["ValueError: epoch 1 is bad", told, told]
    assert run(tmp_path / "s", source).failures == outcome.failures
    # a part of the sweep without the teacher fails for the same reason
    (tmp_path / "s" / "failures" / f"{STUDENTS[0].name('toy')}.json").unlink()
    assert list(run(tmp_path / "s", source, STUDENTS[:1]).failures.values()) == [told]
    mended.touch()
    outcome = run(tmp_path / "s", source, retry_failed=True)
    assert untimed(outcome) == untimed(undisturbed[0])


# ---- shards ----------------------------------------------------------------------------------


def test_teachers_are_divided_among_the_shards():
    trials = sweep.grid(**TOY, fold=list(range(4)), **TRAINED)
    parts = [sweep.shard(trials, "toy", k, 2) for k in (1, 2)]
    assert [[t.is_teacher for t in part] for part in parts] == [[True, True, False, False]] * 2
    assert {*parts[0], *parts[1]} == {*trials}


def test_a_shard_without_the_teachers_file_says_what_to_do(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "GRACE_S", 0.0)
    log, mine, other = tmp_path / "log", tmp_path / "mine", tmp_path / "other"
    with pytest.raises(sweep.SweepError) as caught:
        run(mine, ToySource(log), TRIALS[1:])
    assert f"2 trials wait for teachers that have no soft labels in {mine}: {NAME};" in str(
        caught.value
    )
    assert "copy results/NAME.json and soft_labels/NAME.npy" in str(caught.value)
    assert [path.stem for path in (mine / "results").iterdir()] == [TRIALS[1].name("toy")]
    run(other, ToySource(log), [THE_TEACHER])
    for place in (f"results/{NAME}.json", f"soft_labels/{NAME}.npy"):
        shutil.copy(other / place, mine / place)
    outcome = run(mine, ToySource(log), TRIALS[1:])
    expected = {n: r for n, r in untimed(undisturbed[0]).items() if n != NAME}
    assert untimed(outcome) == expected and times_trained(log) == [1, 1]


def test_a_shard_waits_for_a_teacher_that_another_shard_trains_in_the_same_folder(
    undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr(waiting, "CHECK_EVERY_S", 0.05)
    log = tmp_path / "log"
    found = {}
    students = threading.Thread(
        target=lambda: found.update(run(tmp_path / "s", ToySource(log), STUDENTS).results)
    )
    students.start()
    run(tmp_path / "s", ToySource(log), [THE_TEACHER])
    students.join()
    assert list(found) == [student.name("toy") for student in STUDENTS]
    assert times_trained(log) == [1, 1]


def test_a_teacher_that_a_process_works_on_is_waited_for(tmp_path):
    folder = SweepFolder(tmp_path)
    left = waiting.WaitingTrials(sweep.names(STUDENTS, "toy"), "toy", folder)
    with folder.locked(NAME):
        left.check_teachers(grace_s=0.0)
        assert left.take() is None and left.pause_s() == waiting.CHECK_EVERY_S
    with pytest.raises(sweep.SweepError, match="trials wait for teachers"):
        left.check_teachers(grace_s=0.0)
