"""Fuzz the functions that read files.

    pip install atheris                           optional: inputs guided by coverage
    python -m fuzz --seconds 60                   all readers, for a minute in total
    python -m fuzz --runs 1000000                 all readers, a million inputs in total
    python -m fuzz --reader photo --seconds 600   one reader
    python -m fuzz --replay FILE --reader photo   one input, with the traceback of its error

An input that makes a reader fail is a finding and is kept in fuzz/findings/READER/. Repair the
reader, then move the file to fuzz/corpus/READER/; from then on tests/test_fuzz.py reads it. Exit
status: 0 if nothing was found, 1 if there are findings, 2 for wrong options.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS, FINDINGS = HERE / "corpus", HERE / "findings"

# Modules that atheris instruments to measure coverage; compiled kernels cannot be instrumented.
INCLUDED = ["tinycnn", "ferdata", "zipfile", "gzip", "tomllib", "PIL"]
EXCLUDED = ["tinycnn.kernels", "ferdata.warp", "ferdata.photos.cascade"]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0,
        metavar="S",
        help="time for all readers together, without start-up (default: 60, or no limit with "
        "--runs)",
    )
    parser.add_argument(
        "--runs",
        type=int,
        default=0,
        metavar="N",
        help="number of inputs for all readers together (default: no limit)",
    )
    parser.add_argument(
        "--reader",
        action="append",
        metavar="NAME",
        help="fuzz this reader, a name in fuzz/readers/; can be repeated (default: all)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the random inputs (default: %(default)s)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "atheris", "mutation"),
        default="auto",
        help="atheris: guided by coverage; mutation: random damage to good files; auto: atheris if "
        "it is installed (default: auto)",
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="only read this one input with the reader"
    )
    parser.add_argument(
        "--make-corpus", action="store_true", help="only write the good files of the corpus again"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    guided = _import_readers(args.engine)
    from fuzz.engine import can_run, check, run
    from fuzz.readers import READERS, SHARES

    unknown = [name for name in args.reader or [] if name not in READERS]
    if unknown:
        print(f"no reader {unknown[0]!r}: expected some of {', '.join(READERS)}", file=sys.stderr)
        return 2
    names = args.reader or list(READERS)
    if args.make_corpus or args.replay:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                (Path(folder) / name).mkdir()
                reader = READERS[name](Path(folder) / name)
                if args.replay:
                    check(reader, args.replay.read_bytes())
                else:
                    _write_corpus(CORPUS / name, reader.seeds())
        return 0
    if not can_run():
        print("fuzzing needs Linux; --replay and tests/test_fuzz.py run anywhere", file=sys.stderr)
        return 2
    total = sum(SHARES[name] for name in names)
    if not args.runs and not args.seconds:
        args.seconds = 60
    print(f"{'atheris' if guided else 'mutations'}, seed {args.seed}", flush=True)
    n_all, n_found, began = 0, 0, time.monotonic()
    for name in names:
        n_inputs = args.runs and max(1, round(args.runs * SHARES[name] / total))
        done = run(
            name,
            CORPUS / name,
            FINDINGS,
            n_inputs,
            args.seconds / len(names),
            args.seed,
            guided,
        )
        n_all, n_found = n_all + done.n_inputs, n_found + bool(done.finding)
        result = f"FOUND: {done.kept_as}" if done.finding else "nothing found"
        print(f"{name:18} {done.n_inputs:9,} inputs {done.seconds:6.1f} s  {result}", flush=True)
        if done.finding:
            print(done.finding, flush=True)
    seconds = time.monotonic() - began
    print(f"{'all':18} {n_all:9,} inputs {seconds:6.1f} s  {n_found} findings")
    return int(n_found > 0)


def _import_readers(engine: str) -> bool:
    """Import all that is fuzzed, instrumented by atheris if that is wanted and installed.

    Returns whether it is instrumented.
    """
    if engine != "mutation":
        try:
            import atheris
        except ImportError:
            if engine == "atheris":
                raise
        else:
            with (
                contextlib.redirect_stderr(io.StringIO()),
                atheris.instrument_imports(include=INCLUDED, exclude=EXCLUDED),
            ):
                _import_all()
            return True
    _import_all()
    return False


def _import_all() -> None:
    from fuzz.readers import READERS

    with tempfile.TemporaryDirectory() as folder:
        for name, make in READERS.items():
            (Path(folder) / name).mkdir()
            make(Path(folder) / name)


def _write_corpus(folder: Path, seeds: dict[str, bytes]) -> None:
    """Replace the good files; keep the found-* files."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if not old.name.startswith("found-"):
            old.unlink()
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
