"""The paper in the form of JOSS: metadata, sections, citations; and the pages of checklists."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "paper" / "paper.md").read_text("utf-8")
BIBLIOGRAPHY = (ROOT / "paper" / "paper.bib").read_text("utf-8")
SECTIONS = [
    "Summary",
    "Statement of need",
    "State of the field",
    "Software design",
    "Quality control",
    "Research impact statement",
    "AI usage disclosure",
    "Acknowledgements",
    "References",
]
DOI = re.compile(r"10\.\d{4,5}/[^\s{}]+")
CHECKLISTS = ROOT / "docs" / "community" / "checklists.md"


class Entry(NamedTuple):
    kind: str
    key: str
    fields: dict[str, str]


def entries(text: str) -> list[Entry]:
    """Return the entries of a bibliography whose fields stand on a line each, in braces."""
    found = []
    for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)\n\}$", text, re.M | re.DOTALL):
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", body, re.MULTILINE))
        assert len(fields) == len(body.splitlines()), f"{key}: a line is no field"
        found.append(Entry(kind, key, fields))
    return found


def metadata() -> dict:
    return yaml.safe_load(TEXT.split("---\n")[1])


def body() -> str:
    return TEXT.split("---\n", 2)[2]


def cited(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.])@(\w+)", text))


ENTRIES = entries(BIBLIOGRAPHY)


def test_the_metadata_are_complete():
    found = metadata()
    assert found.keys() == {"title", "tags", "authors", "affiliations", "date", "bibliography"}
    assert "`" not in found["title"]
    assert len(found["tags"]) >= 3
    known = {entry["index"] for entry in found["affiliations"]}
    assert {author["affiliation"] for author in found["authors"]} <= known
    assert (ROOT / "paper" / found["bibliography"]).is_file()
    datetime.strptime(found["date"], "%d %B %Y")


def test_no_person_is_invented():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    named = [author["name"] for author in metadata()["authors"]]
    assert named == [author["name"] for author in citation["authors"]]
    assert "orcid" not in TEXT.lower()


def test_the_sections_are_those_of_the_journal():
    assert re.findall(r"^# (.*)$", body(), re.MULTILINE) == SECTIONS


def test_the_length_is_that_of_the_journal():
    assert 750 <= len(re.sub(r"[@`*\[\]#]", "", body()).split()) <= 1750


def test_every_citation_has_an_entry_and_every_entry_is_cited():
    assert BIBLIOGRAPHY.count("@") == len(ENTRIES) > 15
    keys = [entry.key for entry in ENTRIES]
    assert len(set(keys)) == len(keys)
    assert cited(body()) == set(keys)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
def test_an_entry_can_be_found(entry):
    assert {"author", "title"} <= entry.fields.keys()
    for value in entry.fields.values():
        assert value.count("{") == value.count("}")
    if entry.kind == "misc":  # software without a DOI
        assert re.fullmatch(r"https://\S+", entry.fields["url"])
        return
    assert DOI.fullmatch(entry.fields["doi"])
    assert re.fullmatch(r"(19|20)\d\d", entry.fields["year"])
    assert {"journal", "booktitle"} & entry.fields.keys()


def test_no_doi_stands_twice():
    found = [entry.fields["doi"].lower() for entry in ENTRIES if "doi" in entry.fields]
    assert len(set(found)) == len(found)


def test_the_paper_behind_the_method_is_that_of_the_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    (reference,) = citation["references"]
    (own,) = (entry for entry in ENTRIES if entry.key == "xiang2025")
    assert own.fields["title"] == reference["title"]
    number = reference["identifiers"][0]["value"].removeprefix("arXiv:")
    assert own.fields["doi"] == f"10.48550/arXiv.{number}"
    names = [f"{a['family-names']}, {a['given-names']}" for a in reference["authors"]]
    assert own.fields["author"].split(" and ") == names


@pytest.mark.parametrize(
    ("said", "page", "words"),
    [
        ("0.835 +- 0.008", "README.md", "0.835 +- 0.008"),
        ("0.835 +- 0.008", "docs/benchmarks.md", "0.835 +- 0.0079"),
        ("0.962 to 0.995", "README.md", "0.962 to 0.995"),
        ("0.567", "README.md", "could reach there is 0.567"),
        ("6 to 7 % lower", "docs/benchmarks.md", "6 to 7 % below it from 48 steps on"),
        (
            "temperatures over Iberia networks add nothing",
            "docs/benchmarks.md",
            "Temperature: nothing",
        ),
        ("about thirty lines", "docs/reliability.md", "in about thirty lines"),
    ],
)
def test_a_figure_is_that_of_the_pages(said, page, words):
    def plain(text: str) -> str:
        return " ".join(text.split())

    assert said in plain(body())
    assert words in plain((ROOT / page).read_text("utf-8"))


# Checklists


def rows() -> list[list[str]]:
    lines = [line for line in CHECKLISTS.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] not in {"line", "---"}]


def test_every_line_has_an_answer_and_a_reason():
    found = rows()
    assert len(found) > 50
    for line, answer, reason in found:
        assert answer in {"yes", "no"}, line
        assert len(reason) >= 4, line


def test_files_that_a_checklist_names_exist():
    named = re.findall(
        r"`([\w./-]+\.(?:md|yaml|yml|toml|py|bib|cff))`", CHECKLISTS.read_text("utf-8")
    )
    assert "recipe/recipe.yaml" in named
    assert not [name for name in named if name != "paper.md" and not (ROOT / name).exists()]


def test_what_is_missing_is_said_as_long_as_it_is_missing():
    """The answers that end with a public repository and named authors change with them."""
    answers = {line: answer for line, answer, _ in rows()}
    assert answers["Authors with affiliations"] == "no"
    assert "affiliations:\n  - index: 1\n    name: None stated" in TEXT
