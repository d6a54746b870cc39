"""python -m benchmarks: the command line. The docstring of the package says what is measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __doc__ as DESCRIPTION
from . import isa
from .measures import OURS
from .peers import ENGINES
from .problem import MICROEXPNET
from .workers import WorkerFailed, usable_cores
from .zoo_networks import ZOO

SECTIONS = ("zoo", "roofline", "architectures", "startup")
QUICK_SECTIONS = ("zoo",)
RATIO_MEANS = "ratio_to_fastest_peer: time of the fastest peer / ours; above 1 tinycnn is faster"


class Options(argparse.Namespace):
    """The command line."""

    sections: list[str]
    quick: bool
    json: str | None
    against: str | None
    isa: str
    peers: str | None
    networks: str | None
    markdown: str | None


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["operations"]:
        from . import operations

        return operations.main(arguments[1:])
    if arguments[:1] == ["cost-model"]:
        from . import cost_model

        return cost_model.main(arguments[1:])
    if arguments[:1] == ["int8"]:
        from . import int8

        return int8.main(arguments[1:])
    if arguments[:1] == ["microcontroller"]:
        from .microcontroller.report import main as report_boards

        return report_boards(arguments[1:])
    if arguments[:1] == ["threads"]:
        from . import threads

        return threads.main(arguments[1:])
    options = _parser().parse_args(arguments, Options())
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        print(f"no section {unknown[0]!r}: expected some of {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    if set(_peers(options)) - set(ENGINES):
        print(f"--peers {options.peers}: expected some of {', '.join(ENGINES)}", file=sys.stderr)
        return 2
    if set(_networks(options)) - set(ZOO):
        print(f"--networks {options.networks}: expected some of {', '.join(ZOO)}", file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": machine(), "ratio_means": RATIO_MEANS}
    from . import version_comparison, zoo_report

    try:
        if options.markdown:
            zoo_report.check_place(Path(options.markdown))
        isa.restrict(options.isa)
        report["machine"]["isa"] = options.isa
        print(describe(report["machine"]))
        if options.against:
            report["against"] = version_comparison.run(
                options.against, options.quick, _networks(options, [MICROEXPNET])
            )
        else:
            for section in options.sections or (QUICK_SECTIONS if options.quick else SECTIONS):
                _run_section(section, options, report)
    except (
        version_comparison.NoSuchRevision,
        isa.NotThisHost,
        OSError,
        zoo_report.NoSuchPlace,
        WorkerFailed,
    ) as error:
        print(error, file=sys.stderr)
        return 2
    report["machine"]["load_after"] = _load()
    print(f"\nload average before {report['machine']['load_before']}, after {_load()}")
    if options.json:
        text = json.dumps({"rows": [], **report}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


def _peers(options: Options) -> list[str]:
    return options.peers.split(",") if options.peers else list(ENGINES)


def _networks(options: Options, default: Sequence[str] = tuple(ZOO)) -> list[str]:
    return options.networks.split(",") if options.networks else list(default)


def _parser() -> argparse.ArgumentParser:
    from . import zoo_report

    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="section",
        help=f"what to measure: {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer rounds and, if no section is named, the zoo alone, with as many networks as "
        "fit into a minute",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a JSON file")
    parser.add_argument(
        "--against",
        metavar="REV",
        help="instead of the sections: compare this working tree with a git revision of it (on "
        "MicroExpNet, or on --networks)",
    )
    parser.add_argument(
        "--isa",
        choices=isa.CHOICES,
        default="host",
        help="vector instructions: all that this processor has, or at most AVX2 for engines that "
        "can be restricted (default: host)",
    )
    parser.add_argument(
        "--peers",
        metavar="NAMES",
        help=f"engines to compare with, separated by commas: {', '.join(ENGINES)} (default: all "
        "that are installed)",
    )
    parser.add_argument(
        "--networks",
        metavar="NAMES",
        help=f"networks of the zoo, separated by commas: {', '.join(ZOO)} (default: all)",
    )
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        help="also write the tables of the zoo into this Markdown file, between the lines "
        f"{zoo_report.BEGIN} and {zoo_report.END}",
    )
    return parser


def _run_section(section: str, options: Options, report: dict[str, Any]) -> None:
    if section == "zoo":
        from . import peers_report, zoo, zoo_report

        asked = _peers(options)
        names = [name for name in ENGINES if name == OURS or name in asked]
        found = zoo.measure(_networks(options), names, options.quick)
        report.update(found)
        print(zoo_report.text(found))
        print(f"\n{peers_report.control_text(found['control'], report['machine']['load_before'])}")
        if options.markdown:
            quiet = peers_report.was_quiet(found["control"], report["machine"]["load_before"])
            tables = zoo_report.markdown(found, describe(report["machine"]), quiet)
            zoo_report.write(Path(options.markdown), tables)
    elif section == "roofline":
        from . import roofline

        report["roofline"] = roofline.measure(n_rounds=15 if options.quick else 101)
        print(roofline.text(report["roofline"]))
    elif section == "architectures":
        from . import architectures

        report["architectures"] = architectures.measure(n_rounds=5 if options.quick else 51)
        print(architectures.text(report["architectures"]))
    else:
        from . import startup

        report["startup"] = startup.measure(n_runs=1 if options.quick else 3)
        print(startup.text(report["startup"]))


def machine() -> dict[str, Any]:
    """The machine that the benchmarks run on."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(v.split(":", 1)[1].strip() for v in lines if v.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": name,
        "vectors": isa.widest(),
        "cores": len(usable_cores()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": _load(),
    }


def describe(machine: dict[str, Any]) -> str:
    vectors = f" ({machine['vectors']})" if machine["vectors"] else ""
    text = f"{machine['processor']}{vectors}, {machine['cores']} cores, Python {machine['python']}"
    note = isa.note(machine["isa"])
    return f"{text}\n{note}" if note else text


def _load() -> str:
    """Load average of the last minute."""
    try:
        return f"{os.getloadavg()[0]:.2f}"
    except OSError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
