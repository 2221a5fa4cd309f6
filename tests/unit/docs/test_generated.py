"""The documents that are made from the scenarios are up to date, and their data is sound."""

from __future__ import annotations

import pytest

from tests.docs import generate
from tests.docs.generate import Scenario


def _scenario(docstring: str, name: str = "test_it") -> Scenario:
    return Scenario(path="x.py", name=name, line=1, docstring=docstring, source="")


@pytest.mark.parametrize("what", ["answers", "coverage"])
def test_the_generated_documents_are_up_to_date(what: str) -> None:
    """docs/answers.md and docs/coverage.md are what `make docs` makes now."""
    path = {"answers": generate.ANSWERS, "coverage": generate.COVERAGE}[what]
    wanted = {"answers": generate.answers, "coverage": generate.coverage}[what]()
    assert path.read_text() == wanted, f"{path.name} is out of date: run `make docs`"


@pytest.mark.parametrize(
    ("docstring", "ids"),
    [
        ("It is so. (S-ANS-01)", {"S-ANS-01"}),
        ("It is so.\n\n(S-ANS-01, 02)", {"S-ANS-01", "S-ANS-02"}),
        ("It is so. (S-MED-01 to 03)", {"S-MED-01", "S-MED-02", "S-MED-03"}),
        ("(S-XFR-03, S-XFR-17, livekit/sip#96)", {"S-XFR-03", "S-XFR-17"}),
        ("(S-OUT-10.486)", {"S-OUT-10.486"}),
        ("It takes 2 seconds, with AES-CM-128. (Q4)", set()),
    ],
)
def test_the_ids_of_a_docstring_are_read(docstring: str, ids: set[str]) -> None:
    """Ids are found in full and in their short forms."""
    assert _scenario(docstring).ids == ids


def test_a_name_is_read_as_a_question() -> None:
    """The name of an answer's test is its question."""
    name = "test_q03_is_the_to_header_or_the_request_uri_used"
    assert _scenario("", name).question == "Q3. Is the To header or the Request-URI used?"


def test_every_id_of_a_docstring_is_in_the_catalogue() -> None:
    """A mistyped id proves nothing, and is found here."""
    known = {key for section in generate.catalogue().values() for key in section}
    known |= {key.partition(".")[0] for key in known}
    unknown = {
        key: [s.name for s in found] for key, found in generate.proofs().items() if key not in known
    }
    assert unknown == {}


def test_every_reason_is_for_an_id_of_the_catalogue() -> None:
    """A reason for what is not in the catalogue is left over."""
    known = {key for section in generate.catalogue().values() for key in section}
    left = [
        key
        for key in generate.reasons()
        if key not in known and not any(k.startswith(key.removesuffix("*")) for k in known)
    ]
    assert left == []
