"""PyInstaller's hook for ferdata: the shipped teacher, the face cascade, and modules by name."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

module_collection_mode = "pyz+py"  # compiled loops are kept with a hash of their sources
datas = collect_data_files("ferdata")
datas += collect_data_files("skimage", includes=["data/lbpcascade_frontalface_opencv.xml"])
hiddenimports = collect_submodules("ferdata")
