"""What differs on Windows and macOS (docs/systems.md), with stand-ins for what these systems do."""

import ast
import errno
import io
import ntpath
import os
import sys
import types
import unicodedata
from pathlib import Path

import posix_parts
import pytest

import ferdata
from ferdata.files.path_traversal import leaves_folder
from tinycnn import checkpoint
from tinycnn.ground import atomic_file, exit_status, file_lock, file_names, folder_lock, printing
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.folder_lock import FolderLock, is_locked_here
from tinycnn.sweep.folder import BusyError, SweepFolder

ROOT = Path(__file__).resolve().parent.parent


def parsed(room, *words):
    """(path, syntax tree) of each Python file in a folder of this repository that has a word."""
    for path in (ROOT / room).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if any(word in source for word in words):
            yield path, ast.parse(source)


class InUse(PermissionError):
    """What Windows raises for a file that another program has open."""

    winerror = 32


def in_use(number):
    error = InUse(errno.EACCES, "The process cannot access the file")
    error.winerror = number
    return error


# ---- files that are open -----------------------------------------------------------------------


@pytest.fixture
def on_windows(monkeypatch):
    """Open files are not renamed, and there is no fcntl; locks are those of msvcrt."""
    locked = {}

    def locking(descriptor, mode, n_bytes):
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0 and (mode, n_bytes) == (2, 1)
        found = os.fstat(descriptor)
        holder = locked.get((found.st_dev, found.st_ino))
        try:
            is_held = holder not in (None, descriptor) and os.path.samestat(os.fstat(holder), found)
        except OSError:
            is_held = False
        if is_held:
            raise PermissionError(errno.EACCES, "Permission denied")
        locked[found.st_dev, found.st_ino] = descriptor

    monkeypatch.setattr(atomic_file, "_RENAMES_OPEN_FILES", False)
    monkeypatch.setattr(file_lock, "posix", None)
    monkeypatch.setattr(
        file_lock, "windows", types.SimpleNamespace(locking=locking, LK_NBLCK=2), raising=False
    )


@pytest.mark.parametrize("number", [5, 32])
def test_a_file_that_is_open_for_a_moment_is_replaced_after_it(tmp_path, monkeypatch, number):
    path, replace, n_tries = tmp_path / "model", os.replace, []

    def busy(source, target):
        n_tries.append(target)
        if len(n_tries) < 3:
            raise in_use(number)
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    write_atomically(path, b"new")
    assert len(n_tries) == 3 and path.read_bytes() == b"new" and os.listdir(tmp_path) == ["model"]


def test_a_file_that_stays_open_is_left_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def busy(source, target):
        raise in_use(32)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(atomic_file, "_LONGEST_WAIT_S", 0.05)
    with pytest.raises(PermissionError, match="if another program has the file open, close it"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model"]


def test_a_folder_without_permission_is_not_waited_for(tmp_path, monkeypatch):
    def refuse(source, target):
        n_tries.append(target)
        raise PermissionError(errno.EACCES, "Permission denied")

    n_tries = []
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="solve that, or choose another folder"):
        write_atomically(tmp_path / "model", b"new")
    assert len(n_tries) == 1


def test_windows_renames_a_part_when_it_is_closed(tmp_path, monkeypatch, on_windows):
    replace = os.replace

    def closed_only(source, target):
        opened = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
        assert os.path.realpath(source) not in opened
        replace(source, target)

    if sys.platform == "linux":
        monkeypatch.setattr(os, "replace", closed_only)
    write_atomically(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"


def test_old_parts_are_removed_on_windows_and_young_ones_are_not(tmp_path, on_windows):
    for name, age_s in ((".model.01234567.part", 7200), (".model.89abcdef.part", 60)):
        (tmp_path / name).write_bytes(b"half")
        when = (tmp_path / name).stat().st_mtime - age_s
        os.utime(tmp_path / name, (when, when))
    write_atomically(tmp_path / "model", b"new")
    assert sorted(os.listdir(tmp_path)) == [".model.89abcdef.part", "model"]


def test_macos_writes_through_the_memory_of_the_disk(tmp_path, monkeypatch):
    asked = []
    stand_in = types.SimpleNamespace(
        F_FULLFSYNC=51,
        LOCK_EX=2,
        LOCK_NB=4,
        flock=lambda *arguments: None,
        fcntl=lambda descriptor, command: asked.append(command),
    )
    monkeypatch.setattr(file_lock, "posix", stand_in)
    write_atomically(tmp_path / "model", b"new")
    assert asked == [51]


def test_a_folder_that_cannot_be_opened(tmp_path, monkeypatch):
    opened = os.open

    def files_only(path, *arguments, **named):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "open", files_only)
    write_atomically(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(OSError, match="choose another folder") as caught:
        write_atomically(tmp_path / ("m" * 250), b"new")  # its part file has 265 characters
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == []


# ---- locks -------------------------------------------------------------------------------------


def test_two_runs_in_one_folder_on_windows(tmp_path, on_windows):
    first = checkpoint.claim(tmp_path, {}, resume=False)
    with pytest.raises(checkpoint.CheckpointError, match="another run writes its results there"):
        checkpoint.claim(tmp_path, {}, resume=False)
    assert is_locked_here(tmp_path / "last") and not is_locked_here(tmp_path)
    assert folder_lock._locked_in(tmp_path).name == ".lock"  # a file, not the folder
    first.release()
    FolderLock(tmp_path / "last").release()


def test_two_sweeps_do_not_work_on_one_trial_on_windows(tmp_path, monkeypatch, on_windows):
    one, other = SweepFolder(tmp_path), SweepFolder(tmp_path)
    unlink = Path.unlink

    def open_files_stay(path, missing_ok=False):
        if path.name == "t.lock":
            raise PermissionError(errno.EACCES, "used by another process")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", open_files_stay)
    with one.locked("t"):
        assert other.is_locked("t")
        with pytest.raises(BusyError), other.locked("t"):
            pass
        one.save_result("t", {"name": "t"})  # its own lock's file cannot be removed
    assert not other.is_locked("t") and one.result_path("t").exists()
    with other.locked("t", wait=True):
        pass


def test_a_system_without_any_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "posix", None)
    monkeypatch.setattr(file_lock, "windows", None)
    with SweepFolder(tmp_path).locked("t"), SweepFolder(tmp_path).locked("t"):
        FolderLock(tmp_path).release()
    with pytest.raises(OSError, match="cannot lock files"):
        file_lock.lock_file(0)


# ---- streams -----------------------------------------------------------------------------------


def test_a_closed_pipe_on_windows_ends_a_command_without_a_message(monkeypatch, capsys):
    class Pipe(io.StringIO):
        def write(self, text):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(printing, "_ON_WINDOWS", True)
    monkeypatch.setattr(sys, "stdout", Pipe())
    assert exit_status.exit_status(lambda: print("text") or 0) == exit_status.PIPE_CLOSED
    assert capsys.readouterr().err == ""


def test_a_console_of_windows_without_the_letters_of_a_class(monkeypatch):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="cp1252", newline="\r\n", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)

    def run():
        printing.print_text("höflich \u6012\u308a")
        return 0

    assert exit_status.exit_status(run) == 0
    assert written.getvalue() == "höflich \\u6012\\u308a\r\n".encode("cp1252")


# ---- names -------------------------------------------------------------------------------------


def test_names_on_another_drive(monkeypatch):
    monkeypatch.setattr(file_names, "os", types.SimpleNamespace(path=ntpath, sep="\\", fspath=str))
    assert file_names.relative_name("C:\\set\\a\\1.png", "c:\\Set") == "a/1.png"
    assert file_names.relative_name("D:\\votes.csv", "C:\\set") == "D:/votes.csv"
    assert leaves_folder(file_names.relative_name("D:\\1.png", "C:\\set"))
    assert file_names.lies_in("C:\\set\\a", "C:\\set") and not file_names.lies_in(
        "D:\\a", "C:\\set"
    )
    assert not file_names.lies_in("C:\\set-2\\a", "C:\\set")


@pytest.mark.parametrize("name", [".. /a", "a/ ..\\b"])
def test_blanks_around_two_dots_do_not_count(name):
    assert leaves_folder(name)


def faces_list(folder, *names):
    text = "path,label\n" + "".join(f"{name},{k}\n" for name, k in names)
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return folder / "list.csv"


def picture(path, value=7):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"P5 8 8 255\n" + bytes([value]) * 64)


def test_one_file_under_two_names_in_a_list(tmp_path):
    """On such a disk, a.png and A.PNG are one file.  A second name of it does the same here."""
    picture(tmp_path / "i/a.png")
    os.link(tmp_path / "i/a.png", tmp_path / "i/A.PNG")
    picture(tmp_path / "i/b.png", 9)
    path = faces_list(tmp_path, ("i/a.png", "happy"), ("i/b.png", "sad"), ("i/A.PNG", "sad"))
    with pytest.raises(ferdata.DataError, match=r"line 4: i/A.PNG is the same file as i/a.png in"):
        ferdata.open(path)


def test_two_files_whose_names_differ_in_case_are_two(tmp_path):
    picture(tmp_path / "i/a.png")
    picture(tmp_path / "i/A.PNG", 9)
    if len(os.listdir(tmp_path / "i")) == 1:
        pytest.skip("this disk takes both names for one file")
    path = faces_list(tmp_path, ("i/a.png", "happy"), ("i/A.PNG", "sad"))
    assert len(ferdata.open(path)) == 2


@pytest.mark.parametrize(
    "there, listed, words",
    [
        ("i/a.PNG", "I/A.png", "how capital letters are written"),
        ("i/" + unicodedata.normalize("NFD", "é.png"), "i/é.png", "how accents are written"),
    ],
)
def test_a_list_from_a_system_that_takes_other_names_for_the_same(tmp_path, there, listed, words):
    picture(tmp_path / there)
    if (tmp_path / listed).exists():
        pytest.skip("this disk takes both names for one file")
    path = faces_list(tmp_path, (listed, "happy"))
    with pytest.raises(ferdata.DataError, match=f"there is {there}: the names must .* {words}"):
        ferdata.open(path)


def test_a_listed_picture_is_not_unread_under_its_name_on_disk(tmp_path):
    picture(tmp_path / "i/a.png")
    picture(tmp_path / "i/b.png", 9)
    os.link(tmp_path / "i/a.png", tmp_path / "i/A.PNG")  # where case counts: another name of it
    faces = ferdata.open(faces_list(tmp_path, ("i/a.png", "happy"), ("i/b.png", "sad")))
    assert not faces.unread.pictures


def test_accents_of_class_names_may_be_written_in_both_ways(tmp_path):
    """Disks of old Macs write ü as u and an accent; a keyboard writes one character."""
    for name, value in ((unicodedata.normalize("NFD", "gemüt"), 5), ("froh", 9)):
        picture(tmp_path / name / "1.png", value)
    faces = ferdata.open(tmp_path, classes="froh,gemüt")
    assert faces.label_space.classes == ("froh", "gemüt") and len(faces) == 2
    assert ferdata.labels.canonical_name("Gemu\u0308t") == "gemüt"


@pytest.mark.parametrize("room", ["tinycnn", "ferdata"])
def test_the_order_of_images_is_that_of_their_names_on_every_system(room):
    """Paths are never sorted: Windows would ignore capital letters, and train on another order."""
    for path, tree in parsed(room, "glob(", "iterdir()"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "sorted":
                text = ast.unparse(node)
                lists_paths = "glob(" in text or "iterdir()" in text
                assert not lists_paths or ".name" in text, f"{path}:{node.lineno}: {text}"


@pytest.mark.parametrize("room", ["tinycnn", "ferdata", "examples"])
def test_no_process_is_asked_by_a_signal(room):
    """os.kill(pid, 0) asks on POSIX systems whether a process runs.  On Windows it ends it."""
    for path, tree in parsed(room, "kill"):
        for node in ast.walk(tree):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("os.kill", "os.killpg"), f"{path}:{node.lineno}"


# ---- text --------------------------------------------------------------------------------------


def without_encoding(tree):
    """The lines with calls that read or write text in the encoding of the system."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        mode = given.get("mode", node.args[1] if len(node.args) > 1 else None)
        is_binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
        opens = isinstance(node.func, ast.Name) and name == "open" and not is_binary
        reads = name == "read_text" and not node.args
        writes = name == "write_text" and len(node.args) < 2
        runs = name in ("run", "Popen", "check_output") and {"text", "universal_newlines"} & {
            *given
        }
        if (opens or reads or writes or runs) and "encoding" not in given:
            yield node.lineno


@pytest.mark.parametrize("room", ["tinycnn", "ferdata", "examples", "benchmarks", "fuzz"])
def test_text_is_read_and_written_as_utf_8(room):
    """Windows' own encoding has 256 letters, and another country has other ones."""
    for path, tree in parsed(room, "open(", "_text(", "text=", "universal_newlines="):
        lines = list(without_encoding(tree))
        assert not lines, f"{path} line {lines}: text without encoding=..."
    source = "open('a')\nopen('a', 'rb')\np.read_text()\np.write_text('a')\nrun(a, text=True)"
    assert list(without_encoding(ast.parse(source))) == [1, 3, 4, 5]


# ---- the suite itself --------------------------------------------------------------------------


def used_at_import(tree):
    """(line, name) of the parts of POSIX systems that a file uses when it is imported."""
    names = {
        (module.__name__, name) for module, found in posix_parts.NAMES.items() for name in found
    }
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            waiting += [*node.decorator_list, *node.args.defaults]
            continue
        expects_none = isinstance(node, ast.With) and "ImportError" in ast.unparse(node.items[0])
        if isinstance(node, ast.Lambda) or expects_none:
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = [alias.name for alias in node.names] + [getattr(node, "module", None)]
            yield from ((node.lineno, name) for name in found if name in posix_parts.MODULES)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in names:
                yield node.lineno, node.attr
        waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("room", ["tests", "fuzz", "benchmarks", "examples", "tinycnn", "ferdata"])
def test_all_files_can_be_imported_on_windows(room):
    """TINYCNN_AS_ON_WINDOWS=1 python -m pytest --collect-only really imports them."""
    guarded = {"parallel.py", "compiled_code.py", "compiler_process.py", "folder_lock.py"}
    guarded |= {"posix_parts.py", "test_neon.py"}
    names = [*posix_parts.MODULES, *(n for names in posix_parts.NAMES.values() for n in names)]
    for path, tree in parsed(room, *names):
        found = list(used_at_import(tree))
        if path.name in guarded:  # under `if hasattr(os, ...)`
            found = [(line, name) for line, name in found if name != "register_at_fork"]
        assert not found, f"{path}: {found}"
    source = "import os\nx = os.geteuid()\nimport pwd\ndef f(y=os.fork):\n    os.nice(1)"
    assert sorted(used_at_import(ast.parse(source))) == [(2, "geteuid"), (3, "pwd"), (4, "fork")]


def test_what_needs_a_posix_system_skips_and_says_why(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "mkfifo", raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)

    def a_module():
        import fcntl  # noqa: F401

    def why(call):
        try:
            call()
        except Exception as error:
            return posix_parts.what_is_missing(error)

    assert why(a_module) == "this system has no module fcntl"
    assert why(lambda: os.mkfifo(tmp_path / "pipe")) == "this system has no os.mkfifo"
    assert why(lambda: os.mkfif0(tmp_path / "pipe")) is None
    assert why(lambda: write_atomically(tmp_path / "no/model", b"")) is None

    def product_asks():
        monkeypatch.delattr(os, "nice", raising=False)
        exec(compile("import os; os.nice(1)", "tinycnn/product.py", "exec"), {})

    assert why(product_asks) is None
    monkeypatch.setattr(os, "symlink", lambda *arguments: (_ for _ in ()).throw(in_use(1314)))
    assert why(lambda: os.symlink("a", tmp_path / "b")) == "this user may not make symbolic links"
