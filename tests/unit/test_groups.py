"""How the scenarios are spread over the workers of xdist, and what one that dies costs."""

from __future__ import annotations

import re
import textwrap
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
        """
        import pytest

        @pytest.mark.parametrize("n", range(12))
        def test_alone(n):
            pass
        """
    )
    write(
        pytester,
        "tests/e2e/agents/test_group.py",
        f"""
        import os
        import pytest

        @pytest.mark.parametrize("n", range(3))
        def test_grouped(n):
            pass

        def {dies}():
            os._exit(1)

        @pytest.mark.parametrize("n", range(3))
        def test_of_the_group_too(n):
            pass
        """,
    )
    result = run(pytester, "-n", workers)
    result.assert_outcomes(passed=18, failed=1)


def test_one_conversation_is_held_at_a_time(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    many = """
        import pytest

        @pytest.mark.parametrize("n", range(6))
        def test(n):
            pass
        """
    groups = {
        "conversations": (
            "tests/e2e/agents/test_conversations.py",
            "tests/e2e/speech/test_exactly.py",
        ),
        "agents": ("examples/agents/test_greeter.py", "tests/e2e/agents/test_calls.py"),
    }
    for path in ("tests/e2e/trunks/test_auth.py", *groups["conversations"], *groups["agents"]):
        write(pytester, path, many)
    result = run(pytester, "-n", "3", "-v")
    result.assert_outcomes(passed=30)
    ran = re.findall(r"^\[(gw\d)\].* PASSED (\S+)::", result.stdout.str(), re.MULTILINE)
    for group, paths in groups.items():
        assert len({worker for worker, path in ran if path in paths}) == 1, group


@pytest.mark.parametrize("workers", ["1", "2", "4"])
@pytest.mark.parametrize("others", [0, 1, 9])
def test_spoken_words_come_last_in_their_order_and_alone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str, others: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    spoken, words = "tests/e2e/speech/test_spoken.py", "tests/e2e/speech/test_words.py"
    noting = """
        import time

        import pytest

        @pytest.mark.parametrize("n", range({}))
        def test(n):
            began = time.monotonic()
            time.sleep(0.05)
            with open("ran", "a") as ran:
                print(began, time.monotonic(), __file__.rsplit("/", 1)[1], file=ran)
        """
    for path, tests in ((spoken, 1), (words, 4), ("tests/e2e/trunks/test_auth.py", others)):
        write(pytester, path, noting.format(tests))
    result = run(pytester, "-n", workers)
    result.assert_outcomes(passed=5 + others, skipped=0 if others else 1)
    ran = sorted(line.split() for line in (pytester.path / "ran").read_text().splitlines())
    last = [name for *_, name in ran[others:]]
    assert last == ["test_words.py"] * 4 + ["test_spoken.py"]
    assert all(float(end) <= float(ran[others][0]) for _, end, _ in ran[:others])


def test_the_last_group_is_run_although_who_waited_for_it_died(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write(pytester, "tests/e2e/speech/test_words.py", "def test_1():\n    pass\n")
    write(
        pytester,
        "tests/e2e/trunks/test_auth.py",
        """
        import os
        import time
        import pytest

        @pytest.mark.parametrize("n", range(6))
        def test(n):
            time.sleep(0.1 * n)
            if n in (3, 5):
                os._exit(1)
        """,
    )
    result = run(pytester, "-n", "2")
    result.assert_outcomes(passed=5, failed=2)


def write(pytester: pytest.Pytester, path: str, text: str) -> None:
    file = pytester.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        *("-p", "tests.groups", "--dist", "loadgroup", "-p", "no:sandbox", *arguments), timeout=60
    )
