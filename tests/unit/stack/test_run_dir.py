"""Folders of runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbox.stack.registry import start_time
from sandbox.stack.run_dir import claim_run_dir


def test_a_folder_of_a_run_that_is_over_is_made_anew(tmp_path: Path) -> None:
    folder = claim_run_dir(tmp_path, "stack-main")
    (folder / "old.log").write_text("old")
    again = claim_run_dir(tmp_path, "stack-main")
    assert again == folder == tmp_path / "stack-main"
    assert not (again / "old.log").exists()


def test_a_folder_of_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    folder = claim_run_dir(tmp_path, "stack-main")
    other = subprocess.Popen(["sleep", "60"])
    try:
        (folder / "owner").write_text(f"{other.pid} {start_time(other.pid)}")
        (folder / "a.log").write_text("in use")
        mine = claim_run_dir(tmp_path, "stack-main")
        assert mine == tmp_path / f"stack-main-{os.getpid()}"
        assert (folder / "a.log").exists()
    finally:
        other.kill()
        other.wait()
    assert claim_run_dir(tmp_path, "stack-main") == folder
    assert not mine.exists() or mine == folder
