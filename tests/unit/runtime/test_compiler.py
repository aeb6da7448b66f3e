import ctypes
import logging
import os
import shutil
import stat
import sys
import time

import psutil
import pytest

from darts_core.runtime import compiler
from darts_core.runtime.compiler import BuildError, built_library, load_library


def has_compiler():
    try:
        compiler.find_compiler()
    except BuildError:
        return False
    return True


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(compiler.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path, cache):
    path = tmp_path / "seven.cpp"
    path.write_text('extern "C" int seven() { return 7; }\n')
    return path


@needs_compiler
def test_built_once_and_then_loaded(source, cache, caplog, monkeypatch):
    with caplog.at_level(logging.INFO):
        assert load_library(source).seven() == 7
    assert "building seven.cpp" in caplog.text
    built = built_library(source)
    assert list(cache.iterdir()) == [built], "nothing is left beside it"
    assert stat.S_IMODE(built.stat().st_mode) == 0o700
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert load_library(source).seven() == 7, "no compiler is needed any more"


@needs_compiler
def test_what_killed_builds_have_left_is_removed_and_a_build_that_runs_is_not(source, cache):
    for name in ("building-old", "building-now", "mine"):
        (cache / name).mkdir(parents=True)
        (cache / name / "half.so").touch()
    for name in ("building-old", "mine"):
        os.utime(cache / name, (0, 0))
    load_library(source)
    assert {path.name for path in cache.iterdir()} == {"building-now", "mine", built_library(source).name}


@needs_compiler
def test_a_library_is_on_the_disk_before_it_has_its_name(source, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_size, built_library(source).exists())))
    load_library(source)
    assert flushed == [(built_library(source).stat().st_size, False)]


@needs_compiler
def test_another_source_is_another_library(source):
    first = built_library(source)
    source.write_text('extern "C" int seven() { return 8; }\n')
    assert built_library(source) != first
    assert load_library(source).seven() == 8


@needs_compiler
def test_other_options_in_cxx_are_another_library(source, monkeypatch):
    source.write_text("#ifndef SEVEN\n#define SEVEN 7\n#endif\n" + 'extern "C" int seven() { return SEVEN; }\n')
    monkeypatch.delenv("CXX", raising=False)
    (name,) = compiler.find_compiler()
    first = built_library(source)
    assert load_library(source).seven() == 7
    monkeypatch.setenv("CXX", name)
    assert built_library(source) == first, "a name alone asks for no other machine code"
    monkeypatch.setenv("CXX", f"{name} -DSEVEN=8")
    assert built_library(source) != first
    assert load_library(source).seven() == 8


def test_cxx_that_is_no_command(source, monkeypatch):
    monkeypatch.setenv("CXX", "c++ '-DNAME")
    with pytest.raises(BuildError, match="CXX cannot be split into words"):
        load_library(source)


def test_no_compiler(source, cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BuildError, match=r"no C\+\+ compiler: none of c\+\+, g\+\+, clang\+\+ is on PATH"):
        load_library(source)
    assert not built_library(source).exists()


def test_a_compiler_that_is_not_there(source, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="CXX names 'no-such-compiler', which is not found"):
        load_library(source)


@needs_compiler
def test_a_source_that_does_not_compile(source, cache):
    source.write_text("int seven( {\n")
    with pytest.raises(BuildError, match=r"failed: .*error"):
        load_library(source)
    assert list(cache.iterdir()) == []


@needs_compiler
def test_a_library_that_does_not_load_is_built_again(source):
    library = built_library(source)
    library.parent.mkdir(mode=0o700)
    library.write_bytes(b"not a library")
    library.chmod(0o700)
    assert load_library(source).seven() == 7


@needs_compiler
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a library is known again on Linux alone")
@pytest.mark.parametrize(
    "damage",
    [lambda whole: whole[:0], lambda whole: whole[:4096], lambda whole: whole[:-1], lambda whole: whole[:999] + b"?" + whole[1000:]],
)
def test_a_damaged_library_is_built_again_and_never_loaded(source, damage, monkeypatch, caplog):
    load_library(source)
    library, load = built_library(source), ctypes.CDLL
    whole = library.read_bytes()
    library.unlink()  # what is loaded of it stays as it is
    library.write_bytes(damage(whole))
    monkeypatch.setattr(ctypes, "CDLL", lambda path: load(path) if library.read_bytes() == whole else pytest.fail("it was loaded"))
    with caplog.at_level(logging.INFO):
        assert load_library(source).seven() == 7
    assert f"{library} is damaged." in caplog.text


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_a_library_that_others_may_write_to_is_not_loaded(source, monkeypatch):
    library = built_library(source)
    library.parent.mkdir(mode=0o700)
    library.write_bytes(b"")
    library.chmod(0o777)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("it was loaded"))
    with pytest.raises(BuildError, match="may be changed by, somebody else"):
        load_library(source)
    library.unlink()
    library.parent.chmod(0o777)
    with pytest.raises(BuildError, match="make it yours alone"):
        load_library(source)
    library.parent.chmod(0o700)
    library.symlink_to(source)
    with pytest.raises(BuildError, match="make it yours alone"):
        load_library(source)


def test_a_folder_that_cannot_be_made(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compiler.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(BuildError, match="cannot be built, kept or loaded"):
        load_library(source)


@needs_compiler
def test_options_in_cxx_and_an_older_compiler(source, monkeypatch, tmp_path):
    real, old = compiler.find_compiler()[0], tmp_path / "old"
    cases = f'*=native*) echo "error: unknown" >&2; exit 1;; *-pipe*) exec {real} "$@";;'
    old.write_text(f'#!{shutil.which("bash")}\ncase "$*" in {cases} esac; exit 2\n')
    old.chmod(0o755)
    monkeypatch.setenv("CXX", f"{old} -pipe")
    assert load_library(source).seven() == 7


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ("ld: final link failed: No space left on device", "collect2: error: ld returned 1"),
            "ld: final link failed: No space left on device",
        ),
        (("In file included from x.h:", "x.h:1: fatal error: y.h: not there", "compilation failed"), "x.h:1: fatal error: y.h: not there"),
        (("something else",), "something else"),
        ((), "no message"),
    ],
)
def test_the_line_that_says_why(source, monkeypatch, tmp_path, lines, expected):
    failing = tmp_path / "failing"
    failing.write_text(f"#!{shutil.which('bash')}\n" + "".join(f"echo '{line}' >&2\n" for line in lines) + "exit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))
    with pytest.raises(BuildError) as raised:
        load_library(source)
    assert str(raised.value) == f"{failing} failed: {expected}"


@needs_compiler
def test_a_relative_folder(source, monkeypatch, tmp_path):
    (tmp_path / "here").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(compiler.CACHE_VARIABLE, ".")
    assert load_library(source).seven() == 7


@needs_compiler
def test_a_compiler_that_never_ends(source, monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text(f"#!{shutil.which('bash')}\nsleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setattr(compiler, "BUILD_SECONDS", 0.2)
    with pytest.raises(BuildError, match=r"took more than 0\.2 s"):
        load_library(source)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no groups of processes here")
def test_what_a_compiler_has_started_ends_with_it(source, monkeypatch, tmp_path):
    """As g++ starts another program that does the work."""
    slow = tmp_path / "slow"
    slow.write_text(f"#!{shutil.which('bash')}\nsleep 30 &\necho $! > {tmp_path}/pid\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setattr(compiler, "BUILD_SECONDS", 1.0)
    with pytest.raises(BuildError, match="took more than"):
        load_library(source)
    started = int((tmp_path / "pid").read_text())
    for _ in range(100):  # until whoever adopted it has seen its end
        if not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    pytest.fail("it goes on")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({"DARTS_CACHE_DIR": "/a"}, "/a"), ({"XDG_CACHE_HOME": "/b"}, "/b/darts"), ({"HOME": "/c"}, "/c/.cache/darts")],
)
def test_the_folder(variables, expected, monkeypatch):
    for name in ("DARTS_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(compiler.cache_folder()) == expected
