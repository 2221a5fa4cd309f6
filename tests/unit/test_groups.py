"""How the scenarios are spread over the workers of xdist, and what one that dies costs."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("workers", ["1", "2", "3"])
@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "at the end"])
def test_a_run_with_a_worker_that_dies_comes_to_its_end(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str, last: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    dies = "test_zz" if last else "test_dies"
    pytester.makepyfile(
        f"""
        import os
        import pytest

        @pytest.mark.parametrize("n", range(12))
        def test_alone(n):
            pass

        @pytest.mark.xdist_group("group")
        @pytest.mark.parametrize("n", range(3))
        def test_grouped(n):
            pass

        @pytest.mark.xdist_group("group")
        def {dies}():
            os._exit(1)

        @pytest.mark.xdist_group("group")
        @pytest.mark.parametrize("n", range(3))
        def test_of_the_group_too(n):
            pass
        """
    )
    result = pytester.runpytest_subprocess(
        "-p", "tests.groups", "-n", workers, "--dist", "loadgroup", "-p", "no:sandbox", timeout=60
    )
    result.assert_outcomes(passed=18, failed=1)


def test_agents_are_one_group_and_conversations_another(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest("from tests.e2e.conftest import pytest_collection_modifyitems")
    for place in ("agents", "speech", "trunks"):
        (pytester.mkdir(place) / f"test_{place}.py").write_text("def test(): pass\n")
    result = pytester.runpytest_subprocess(
        *("-n", "2", "--dist", "loadgroup", "-v", "-p", "no:sandbox"), timeout=60
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines_random(
        [
            "*agents/test_agents.py::test@agents*",
            "*speech/test_speech.py::test@conversations*",
            "*trunks/test_trunks.py::test *",
        ]
    )
