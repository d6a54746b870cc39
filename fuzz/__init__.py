"""Fuzzing of every reader of files: `python -m fuzz --help`.

readers.py   what is read, the errors that it may raise, and good files to begin with
engine.py    one reader's run: coverage-guided where atheris is installed, else mutations
mutation.py  damaged copies of good files, from a seed
corpus/      small files for each reader: good ones (`--make-corpus` writes them) and, called
             found-*, those that once were too much for a reader
"""
