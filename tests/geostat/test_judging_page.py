"""The page "Judging a field without truth" prints the numbers that it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "judging_without_truth.md"


def code():
    return "\n".join(
        re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    )


def test_every_number_on_the_page_is_what_its_code_prints():
    test = doctest.DocTestParser().get_doctest(code(), {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 20
    lines: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=lines.append)
    assert runner.failures == 0, "".join(lines)


def test_prose_holds_no_measured_number():
    prose = re.sub(r"```python\n.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.findall(r"\d+\.\d+|\d+ ?(?:%|km|days)", prose)
