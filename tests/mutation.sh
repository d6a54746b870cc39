#!/usr/bin/env bash
# Mutation testing of the losses, their kernels, shapes, soft labels and labels:
#     pip install mutmut
#     tests/mutation.sh [losses kernels shapes soft_labels labels]        (default: all five)
# Works in a copy of the repository, which it keeps for `mutmut show`. The JIT is off, so that mutants
# of kernels run as Python. Fails if fewer than 90 % of the mutants of a group are killed.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
cp -r tinycnn ferdata tests setup.cfg pyproject.toml "$copy"
cd "$copy"
unset PYTHONPATH TINYCNN_SHARED TINYCNN_BACKEND
export NUMBA_DISABLE_JIT=1 TINYCNN_TILE=plain TINYCNN_TEST_EXAMPLES=${TINYCNN_TEST_EXAMPLES:-5}
cat >groups.py <<'PYTHON'
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

KERNELS = "cross_entropy decoupled_distillation relation_distillation standardize_logits"
GROUPS = {  # the modules, the names of their tests
    "losses": (["tinycnn/losses.py", "tinycnn/distillation.py"], "losses distillation class_weights"),
    "kernels": (
        [f"tinycnn/kernels/{name}.py" for name in KERNELS.split()],
        "cross_entropy distillation",
    ),
    "shapes": (["tinycnn/shapes.py"], "shapes layers"),
    "soft_labels": (
        [f"ferdata/teachers/soft_label{name}.py" for name in ("s", "_files", "_checks")],
        "soft_labels soft_label_files",
    ),
    "labels": (["ferdata/labels.py"], "labels dataset"),
}
# A child process cannot import mutants without mutmut; PyTorch may fail in the forks that mutmut makes.
LEFT_OUT = ["imports_no_numba", "torch_divides"]


def configure(chosen):
    modules = [module for group in chosen for module in GROUPS[group][0]]
    tests = {f"tests/test_{name}.py" for group in chosen for name in GROUPS[group][1].split()}
    for module in modules:  # mutmut does not change decorated functions
        path = Path(module)
        text = path.read_text()
        path.write_text(text.replace("\n@kernel\n", "\n").replace("\n@helper\n", "\n"))
    options = ["-p", "no:cacheprovider", "--hypothesis-seed=0", "-k"]
    options.append(" and ".join(f"not {name}" for name in LEFT_OUT))
    with open("pyproject.toml", "a") as file:
        file.write("\n[tool.mutmut]\nsource_paths = ['tinycnn', 'ferdata']\n")
        file.write(f"only_mutate = {json.dumps(modules)}\n")
        file.write(f"pytest_add_cli_args_test_selection = {json.dumps(sorted(tests))}\n")
        file.write(f"pytest_add_cli_args = {json.dumps(options)}\n")


def report(chosen):
    lines = subprocess.check_output(["mutmut", "results", "--all", "true"], text=True)
    outcomes = defaultdict(Counter)
    for line in lines.splitlines():
        name, _, outcome = line.strip().rpartition(": ")
        module = name.rpartition(".")[0].replace(".", "/") + ".py"
        outcomes[module][outcome] += 1
        if outcome not in ("killed", "timeout"):
            print(f"{outcome:12} {name}")
    print(f"\n{'module':46} mutants  killed  share")
    worst = 1.0
    for group in chosen:
        rows = [(module, outcomes[module]) for module in GROUPS[group][0]]
        rows.append((f"= {group}", sum((counts for _, counts in rows), Counter())))
        for module, counts in rows:
            n, killed = sum(counts.values()), counts["killed"] + counts["timeout"]
            share = killed / n if n else 0.0
            print(f"{module:46} {n:7} {killed:7} {share:6.1%}")
        worst = min(worst, share)
    return worst >= 0.9


chosen = sys.argv[2:] or list(GROUPS)
if unknown := set(chosen) - set(GROUPS):
    sys.exit(f"{', '.join(unknown)}: expected some of {' '.join(GROUPS)}")
if sys.argv[1] == "configure":
    configure(chosen)
elif not report(chosen):
    sys.exit("fewer than 90 % killed")
PYTHON
python groups.py configure "$@"
mutmut run --max-children 1 >mutmut.log || { tail -n 40 mutmut.log; exit 1; }
echo "to see a mutant: cd $copy && mutmut show NAME"
python groups.py report "$@"
