"""Fuzzing of every function that reads files: `python -m fuzz --help`.

readers/     the readers, the errors that they may raise, and good files to start from
engine.py    fuzzes one reader: guided by coverage if atheris is installed, else by mutations
mutation.py  damaged copies of good files, the same for the same seed
corpus/      small files for each reader: good ones, which `--make-corpus` writes, and found-*,
             files that once made a reader fail
"""
