"""Which part of the code may import which; the imports are read from the source.

A part ("room") is a module or a subpackage of tinycnn or of ferdata; DOORS and FERDATA_DOORS list
what each may import of its own package.  To allow a new import, change them here and the rules in
CONTRIBUTING.md.
"""

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

FOUNDATION = {"shapes", "aligned_arrays", "ground", "parallel"}

DOORS = {
    # parts that import nothing, or almost nothing, of tinycnn
    "shapes": {"ground"},
    "aligned_arrays": set(),
    "shared_offsets": {"plan"},
    "ground": set(),
    "parallel": {"ground"},
    "training_thread": set(),
    "backend_choice": {"kernels", "reference"},
    "reference": {"reference_optimizers", "reference_windows"},
    "reference_optimizers": set(),
    "reference_windows": set(),
    "init": set(),
    "testing": set(),
    "metrics": {"ground"},
    "schedules": set(),
    "averaging": set(),
    "kernels": {"ground", "layers", "plan", "shared_offsets"},
    "unknown_options": set(),
    # the engine
    "layers": {"shapes", "unknown_options"},
    "input_spec": {"shapes", "unknown_options"},
    "image_arrays": {"ground", "input_spec"},
    "pictures": {"ground", "input_spec"},
    "plan": {"layers", "shapes"},
    "summary": {"plan", "ground"},
    "losses": {"backend_choice", "kernels", "shapes", "ground", "unknown_options"},
    "distillation": {"backend_choice", "losses", "kernels", "shapes"},
    "optim": {
        *("aligned_arrays", "backend_choice", "ground", "kernels", "shapes", "unknown_options"),
    },
    "custom_layers": {"layers", "plan"},
    "folding": {"aligned_arrays", "layers", "plan"},
    "reference_backend": {"custom_layers", "layers", "losses", "plan", "reference"},
    "workspaces": {"aligned_arrays", "kernels", "plan"},
    "prediction_memory": {"kernels", "shared_offsets"},
    "two_tables": {"kernels", "plan", "prediction_memory"},
    "two_threads": {"aligned_arrays", "kernels", "two_tables"},
    "step_threads": {"ground", "kernels", "parallel"},
    "kernel_prediction": {
        *("prediction_memory", "two_tables", "two_threads"),
        *("aligned_arrays", "custom_layers", "folding", "kernels", "parallel", "plan"),
        "workspaces",
    },
    "kernel_backend": {
        *("aligned_arrays", "custom_layers", "kernel_prediction", "kernels", "losses"),
        *("parallel", "step_threads", "plan", "workspaces"),
    },
    "backends": {
        *("backend_choice", "kernel_backend", "losses", "parallel", "plan", "reference_backend"),
        "second_compiler",
    },
    "needed_functions": {"folding", "kernels", "plan"},
    "first_predictions": {
        *("backend_choice", "ground", "kernels", "layers", "plan", "reference_backend"),
        "needed_functions",
    },
    "second_compiler": {"first_predictions", "ground", "kernels", "plan"},
    "parameter_arrays": {
        *("aligned_arrays", "backends", "frozen_layers", "layers", "plan", "shapes"),
        "training_thread",
    },
    "classify": {"ground", "image_arrays", "input_spec", "pictures"},
    "calibration": {"losses", "metrics"},
    "logit_adjustment": {"layers", "network", "shapes"},
    "predictor": {"classify", "image_arrays", "input_spec", "losses"},
    "quantized": {
        *("backend_choice", "folding", "image_arrays", "input_spec", "kernels", "predictor"),
        *("layers", "losses", "plan", "reference_backend", *FOUNDATION),
    },
    "dropout_masks": {"layers", "plan"},
    "frozen_layers": {"aligned_arrays", "backends", "layers", "losses", "parallel", "plan"},
    "network": {
        *("backend_choice", "backends", "classify", "first_predictions", "folding", "plan"),
        *("dropout_masks", "frozen_layers", "parameter_arrays", "second_compiler"),
        *("layers", "input_spec", "predictor", "quantized", "reference_backend"),
        *("image_arrays", "init", "losses", "summary", "training_thread", "unknown_options"),
        *FOUNDATION,
    },
    # parts that use a network
    "compile_network": {
        *("input_spec", "kernels", "layers", "needed_functions", "network", "second_compiler"),
    },
    "models": {"network", "layers", "input_spec"},
    "formats": {
        *("network", "plan", "layers", "input_spec", "models", "quantized", "testing"),
        *FOUNDATION,
    },
    "export": {"network", "plan", "layers", "input_spec", "formats", "quantized", *FOUNDATION},
    "checkpoint": {"network", "formats", "optim", "averaging", *FOUNDATION},
    "divergence": {"network", "predictor", "reference_backend"},
    "labels": {"metrics", "ground"},
    "evaluation": {"image_arrays", "labels", "layers", "losses", "metrics", "network"},
    "class_head": {"evaluation", "input_spec", "layers", "network", "plan"},
    "epochs": {"divergence", "network", "ground"},
    "train": {
        *("network", "checkpoint", "divergence", "evaluation", "losses", "optim", "schedules"),
        "epochs",
        *FOUNDATION,
    },
    "history": {"train", "ground"},
    "training_data": {
        *("evaluation", "image_arrays", "input_spec", "labels", "losses", "network", "train"),
        *FOUNDATION,
    },
    "fitting": {
        "class_head",
        *("checkpoint", "distillation", "evaluation", "history", "losses", "network", "optim"),
        *("schedules", "train", "training_data", "unknown_options", *FOUNDATION),
    },
    "sklearn": {
        *("evaluation", "fitting", "formats", "history", "input_spec", "layers", "losses"),
        *("network", "optim", "training_data"),
    },
    # plots and reports
    "plots": set(),
    "report": {"metrics", *FOUNDATION},
}
TOP = ("sweep", "paper", "cli", "__init__", "__main__")
"""These may import every room; no room may import them."""

DOORS["train"].add("averaging")
DOORS["explain"] = {
    "network",
    "reference_backend",
    "plan",
    "layers",
    "losses",
    "kernels",
    "testing",
}
DOORS["explain"] |= {"folding", "testing", *FOUNDATION}
DOORS["run"] = {
    *("class_head", "evaluation", "frozen_layers", "layers"),
    *("calibration", "checkpoint", "distillation", "formats", "input_spec", "losses", "metrics"),
    *("models", "network", "optim", "report", "schedules", "train", *FOUNDATION),
}
DOORS["learn"] = {"ground", "input_spec", "layers", "network", "testing"}
DOORS["sweep"] = set(DOORS)
DOORS["paper"] = set(DOORS)
DOORS["cli"] = set(DOORS)
DOORS["__init__"] = set(DOORS)
DOORS["__main__"] = {"cli"}
DOORS["__pyinstaller"] = set()

NUMPY_ALONE = (
    "reference",
    "reference_optimizers",
    "reference_windows",
    "init",
    "testing",
    "shapes",
    "metrics",
    "layers",
    "plan",
    "losses",
)
NUMPY_ALONE += ("distillation", "classify")
NUMPY_ALONE += (
    "optim",
    "schedules",
    "parallel",
    "input_spec",
    "network",
    "backends",
    "first_predictions",
    "needed_functions",
    *("class_head", "dropout_masks", "epochs", "frozen_layers"),
    "train",
    "divergence",
    *("evaluation", "fitting", "history", "image_arrays", "labels", "summary", "training_data"),
    "unknown_options",
)
LANGUAGE = {
    *("arguments", "class_choice", "dataset", "errors", "folds", "image_hashes", "labels"),
    *("name_suggestions", "unread_files"),
}

FERDATA_DOORS = {
    # what a set of faces is
    "errors": set(),
    "arguments": set(),
    "image_hashes": {"errors"},
    "labels": {"errors"},
    "name_suggestions": {"labels"},
    "class_choice": {"labels", "name_suggestions"},
    "unread_files": set(),
    "dataset": {"class_choice", "errors", "image_hashes", "labels", "unread_files"},
    "folds": {"arguments", "dataset", "errors"},
    "jit": {"files"},
    "warp": {"errors", "image_hashes", "jit"},
    "augment": {"warp"},
    "mixing": set(),
    "corruptions": {"image_hashes", "warp"},
    "batches": {"arguments", "augment", "dataset", "errors", "mixing", "warp"},
    "image_grid": {"dataset"},
    # the rooms
    "files": {"errors"},
    "drawing": set(),
    "photos": {"arguments", "errors", "files", "jit", "warp"},
    "films": {"arguments", "errors", "files", "photos"},
    "sources": {"drawing", "files", "image_grid", "photos", *LANGUAGE},
    "teachers": {"files", *LANGUAGE},
    "training": {"augment", "batches", "mixing", "sources", "warp", *LANGUAGE},
    "doctor": {"image_grid", "photos", "sources", "teachers", *LANGUAGE},
}
FERDATA_DOORS["cli"] = set(FERDATA_DOORS) - {"training"}
FERDATA_DOORS["__init__"] = set(FERDATA_DOORS) - {"cli"}

OUTSIDE = {"formats": {"numpy", "safetensors", "onnx", "onnxruntime"}}
OUTSIDE["sklearn"] = {"numpy", "sklearn"}
OUTSIDE["ground"] = {"numpy", "numba", "llvmlite", "tqdm", "shtab"}
OUTSIDE["plots"] = {"numpy", "matplotlib"}
OUTSIDE["calibration"] = {"numpy", "scipy"}
OUTSIDE["__pyinstaller"] = {"PyInstaller"}
OUTSIDE["cli"] = {"numpy", "tqdm", "PIL", "tomli"}
OUTSIDE["pictures"] = {"numpy", "PIL"}
OUTSIDE["explain"] = {"numpy", "PIL"}
OUTSIDE["sweep"] = {"numpy", "scipy", "distributed", "dask"}
OUTSIDE["paper"] = {"numpy", "scipy"}
OUTSIDE["report"] = {"numpy", "scipy", "PIL"}

FERDATA_OUTSIDE = {
    "jit": {"numba"},
    "warp": {"numpy", "scipy", "skimage"},
    "image_grid": {"numpy", "skimage", "PIL"},
    "corruptions": {"numpy", "scipy", "PIL"},
    "photos": {"numpy", "skimage", "PIL", "pillow_heif"},
    "films": {"numpy", "PIL", "av"},
    "sources": {"numpy", "PIL"},
    "teachers": {"numpy", "scipy"},
    "doctor": {"numpy", "PIL"},
    "cli": {"numpy", "PIL"},
}


class Import(NamedTuple):
    """One import: absolute dotted name, line, and whether only type checkers see it."""

    name: str
    line: int
    typing_only: bool


def imports(path):
    """Every import of a file, also inside functions; relative names are made absolute."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = list(path.relative_to(ROOT).parent.parts)
    typing_only = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            typing_only |= {id(inner) for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from . import reference` names a module; `from .layers import Dense` does not.  The
            # longer name does not matter: only its first part decides the room.
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(name, node.lineno, id(node) in typing_only)


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def room(path):
    """tinycnn/formats/safetensors.py -> formats; ferdata/labels.py -> labels."""
    return path.relative_to(ROOT).with_suffix("").parts[1]


def place(path, found):
    return f"{path.relative_to(ROOT)}:{found.line} imports {found.name}"


TINYCNN, FERDATA = files("tinycnn"), files("ferdata")


def label(path):
    return str(path.relative_to(ROOT))


def test_the_reader_sees_imports(tmp_path, monkeypatch):
    """Without this test, the tests below would pass if no import were found."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "tinycnn" / "kernels" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\nimport numba.core as core, os\nfrom . import _jit\n"
        "from .. import reference\nfrom ..layers import Dense\nif TYPE_CHECKING:\n"
        "    from ..network import Network\ndef f():\n    from tinycnn.plan import Plan\n"
    )
    assert sorted(imports(path), key=lambda found: found.line) == [
        ("typing.TYPE_CHECKING", 1, False),
        ("numba.core", 2, False),
        ("os", 2, False),
        ("tinycnn.kernels._jit", 3, False),
        ("tinycnn.reference", 4, False),
        ("tinycnn.layers.Dense", 5, False),
        ("tinycnn.network.Network", 7, True),
        ("tinycnn.plan.Plan", 9, False),
    ]
    assert room(path) == "kernels"
    assert len(TINYCNN) > 20 and len(FERDATA) > 5


@pytest.mark.parametrize("path", [*TINYCNN, *FERDATA], ids=label)
def test_parts_only_import_what_is_allowed(path):
    package = path.relative_to(ROOT).parts[0]
    doors = DOORS if package == "tinycnn" else FERDATA_DOORS
    assert room(path) in doors, f"a new room: give {package}/{room(path)} its doors, here"
    for found in imports(path):
        parts = found.name.split(".")
        if parts[0] != package or found.typing_only:
            continue
        target = parts[1] if len(parts) > 1 else "__init__"
        allowed = doors[room(path)] | {room(path)}
        assert target in allowed, f"{place(path, found)}: {room(path)} has doors to {allowed}"


@pytest.mark.parametrize(
    "package, doors", [("tinycnn", DOORS), ("ferdata", FERDATA_DOORS)], ids=["tinycnn", "ferdata"]
)
def test_every_room_with_doors_exists(package, doors):
    assert set(doors) == {room(path) for path in files(package)}


@pytest.mark.parametrize("doors", [DOORS, FERDATA_DOORS], ids=["tinycnn", "ferdata"])
def test_no_room_imports_itself_through_others(doors):
    open_rooms = {name: set(doors[name]) for name in doors if doors is not DOORS or name not in TOP}
    while open_rooms:
        ready = {name for name, others in open_rooms.items() if not others & set(open_rooms)}
        assert ready, f"a circle among {sorted(open_rooms)}"
        for name in ready:
            del open_rooms[name]


@pytest.mark.parametrize("path", TINYCNN, ids=label)
def test_only_the_commands_of_tinycnn_import_ferdata(path):
    for found in imports(path):
        assert found.name.split(".")[0] != "ferdata" or room(path) == "cli", place(path, found)


@pytest.mark.parametrize("path", FERDATA, ids=label)
def test_ferdata_only_imports_ground_of_tinycnn(path):
    """Of tinycnn, ferdata may import only `ground`."""
    for found in imports(path):
        if found.name.split(".")[0] == "tinycnn":
            assert found.name.split(".")[1:2] == ["ground"], place(path, found)


@pytest.mark.parametrize("path", [*TINYCNN, *FERDATA], ids=label)
def test_the_packages_import_no_example_test_or_benchmark(path):
    for found in imports(path):
        top = found.name.split(".")[0]
        assert top not in ("examples", "tests", "benchmarks", "small_networks"), place(path, found)


@pytest.mark.parametrize("path", [*TINYCNN, *FERDATA], ids=label)
def test_only_a_few_files_import_numba(path):
    names = (
        "_jit",
        "_simd",
        "_tile",
        "_row_product",
        "_filter_rows",
        "_channels_last",
        "_window_max",
        "_window_largest",
        "_window_mean",
        "_channel_rows",
        "_winners",
        "_winner_lists",
        "_winograd",
        "_winograd_tiles",
        "_winograd_bands",
        "_depthwise_rows",
        "_views",
        "_shared_counter",
        "_shared_cells",
        "_calls",
        "_int8_tile",
    )
    allowed = [f"tinycnn/kernels/{name}.py" for name in names]
    allowed += ["tinycnn/ground/compiled_code.py", "ferdata/jit.py"]
    for found in imports(path):
        if found.name.split(".")[0] in ("numba", "llvmlite"):
            assert path.relative_to(ROOT).as_posix() in allowed, place(path, found)


def test_files_with_an_underscore_import_no_kernel():
    """Files that begin with "_" import no kernel; `_jit` imports no other file of `kernels`."""
    seen = set()
    for path in TINYCNN:
        if room(path) == "kernels" and path.stem.startswith("_") and path.stem != "__init__":
            seen.add(path.stem)
            here = [f.name for f in imports(path) if f.name.startswith("tinycnn.kernels.")]
            ours = {name.split(".")[2] for name in here}
            assert all(name.startswith("_") for name in ours), f"{label(path)}: {ours}"
            assert path.stem != "_jit" or not ours, f"{label(path)}: {ours}"
    assert {"_jit", "_tile"} <= seen


@pytest.mark.parametrize("path", [p for p in TINYCNN if room(p) == "kernels"], ids=label)
def test_kernels_only_need_numpy_and_numba(path):
    for found in imports(path):
        top = found.name.split(".")[0]
        known = top in sys.stdlib_module_names or top in ("numpy", "tinycnn", "numba", "llvmlite")
        assert known, place(path, found)


@pytest.mark.parametrize(
    "path", [p for p in [*TINYCNN, *FERDATA] if room(p) != "kernels"], ids=label
)
def test_only_a_few_parts_need_more_than_numpy(path):
    outside = OUTSIDE if path in TINYCNN else FERDATA_OUTSIDE
    allowed = outside.get(room(path), {"numpy"}) | {"tinycnn", "ferdata"}
    for found in imports(path):
        top = found.name.split(".")[0]
        if top not in sys.stdlib_module_names and not found.typing_only:
            assert top in allowed, place(path, found)
    if path in TINYCNN and room(path) in NUMPY_ALONE:
        assert outside.get(room(path)) is None, room(path)


@pytest.mark.parametrize(
    "name", ["reference", "reference_optimizers", "reference_windows", "init", "testing"]
)
def test_reference_init_and_testing_only_need_numpy(name):
    for found in imports(ROOT / "tinycnn" / f"{name}.py"):
        top = found.name.split(".")[0]
        fine = top == "numpy" or top in sys.stdlib_module_names or found.typing_only
        fine = fine or found.name.startswith("tinycnn.reference_")
        assert fine, place(ROOT / "tinycnn" / f"{name}.py", found)


RUNS_PROGRAMS = "tinycnn/learn/learner.py"
"""It runs the answers of a learner, as `python answers.py` would: they are programs."""

UNSAFE_MODULES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
READS_COMPILED_CODE = ROOT / "tinycnn" / "ground" / "compiled_code.py"
"""May unpickle: Numba keeps the code that it compiles as pickle.  The file is only read if this
user's process wrote it, and if its checksum is right."""


@pytest.mark.parametrize("path", [*TINYCNN, *FERDATA], ids=label)
def test_no_pickle_and_no_eval(path):
    """No pickle, no eval: a downloaded model or data file can hold a wrong number at worst."""
    allowed = {"pickle", "pickle.loads"} if path == READS_COMPILED_CODE else set()
    for found in imports(path):
        unsafe = found.name.split(".")[0] in UNSAFE_MODULES
        assert not unsafe or found.name in allowed, place(path, found)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        where = f"{path.relative_to(ROOT)}:{node.lineno} calls {called}"
        may_run = path.relative_to(ROOT).as_posix() == RUNS_PROGRAMS and called != "eval"
        assert called not in ("eval", "exec", "compile", "__import__") or may_run, where
        assert not called.startswith(("builtins.", "pickle.")) or called in allowed, where
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle":
                assert ast.unparse(keyword.value) == "False", where


def test_only_the_package_fronts_import_by_name_at_run_time():
    """Imports by importlib.import_module would escape the tests above."""
    for path in [*TINYCNN, *FERDATA]:
        if path.name != "__init__.py":
            for found in imports(path):
                dynamic = found.name in ("importlib", "importlib.import_module", "runpy")
                assert not dynamic, place(path, found)


def module_name(path):
    """tinycnn/report/page.py -> tinycnn.report.page; its __init__.py -> tinycnn.report."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", [TINYCNN, FERDATA], ids=["tinycnn", "ferdata"])
def test_no_module_imports_itself_through_others(package):
    """Imports inside functions and imports for type checkers count.  That Python imports the front
    of a package (`tinycnn.report`) before a module in it does not."""
    modules = {module_name(path): path for path in package}
    needs = {}
    for name, path in modules.items():
        found = {one.name for one in imports(path)}
        found = {one if one in modules else one.rpartition(".")[0] for one in found}
        needs[name] = found & set(modules)
    while needs:
        ready = {name for name, others in needs.items() if not others & set(needs)}
        assert ready, f"a circle among {sorted(needs)}"
        for name in ready:
            del needs[name]


# ---- sizes -----------------------------------------------------------------------------------


MOST_PARAMETERS, MOST_LINES = 12, 450

WAYS = ("plain", "tiled")

WIDE_LOOPS = {
    # the inner loops in LLVM instructions and their twins: every offset is a number of its own
    *("_tile.tile", "_tile.multiply_add_plain", "_tile.multiply_add_tiled"),
    *("_lane_tile.multiply_add_lanes_plain", "_lane_tile.multiply_add_lanes_tiled"),
    *("_lane_tile.multiply_add_groups", "_lane_tile.multiply_add_group_sums"),
    *("_window_max.tile", "_window_max.window_max_plain", "_window_max.window_max_tiled"),
    "_window_largest._largest",
    *(f"_window_max.signed_window_max_{way}" for way in WAYS),
    *("_window_max.add_to_winners", *(f"_window_max.add_to_winners_{way}" for way in WAYS)),
    *("_winners.winners", "_winners.add_winners_plain", "_winners.add_winners_tiled"),
    "_winograd.finish",
    *("_tile.products_plain", "_tile.products_tiled", "_winograd_tiles.code"),
    *("_winograd_bands.code", "_window_max.combine"),
    *(f"_window_max.combine_windows_{way}" for way in WAYS),
    *("_winograd_tiles.products_of_matrices", "_depthwise_rows.compute_rows"),
    "_depthwise_rows.add_params",
    *(f"_int8_tile.int8_{name}_{way}" for name in ("products", "channels") for way in WAYS),
    *(f"_int8_tile.int8_sums_{way}" for way in WAYS),
    *("_int8_tile.int8_tile", "_int8_tile._max_tile"),
    *("_row_product.columns", "_filter_rows.tile"),
}


@pytest.mark.parametrize("path", [*TINYCNN, *FERDATA], ids=label)
def test_no_function_takes_more_than_a_dozen_parameters(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            given = node.args
            n = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
            name = f"{path.stem}.{getattr(node, 'name', 'lambda')}"
            where = f"{label(path)}:{node.lineno} {name} takes {n} parameters"
            assert n <= MOST_PARAMETERS or name in WIDE_LOOPS, where


@pytest.mark.parametrize("path", [*TINYCNN, *FERDATA], ids=label)
def test_no_file_is_too_long_to_read(path):
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MOST_LINES, f"{label(path)} has {n_lines} lines"
