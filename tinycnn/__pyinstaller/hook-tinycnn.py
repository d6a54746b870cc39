"""PyInstaller's hook for tinycnn: the shipped weights, and modules that are imported by name."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

module_collection_mode = "pyz+py"  # the cache of compiled kernels is named by a hash of the sources
datas = collect_data_files("tinycnn")
hiddenimports = collect_submodules("tinycnn", lambda name: not name.startswith("tinycnn.__pyi"))
# Extras, imported when a function needs them: --hidden-import adds one to a frozen program.
excludedimports = [
    "av",
    "dask",
    "distributed",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "shtab",
    "sklearn",
]
