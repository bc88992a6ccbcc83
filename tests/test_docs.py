"""The pages: their code runs, everything public stands in the reference, no link leads nowhere."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import histoexpr

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if p.relative_to(DOCS).parts[0] != "_build"]
FENCE = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = "<!-- not run"


def blocks(text):
    """(language, code, line) of each block that is not marked as not run."""
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        if not before.startswith(NOT_RUN):
            yield match[1], match[2], text.count("\n", 0, match.start()) + 1


def name_of(page):
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", [p for p in PAGES if list(blocks(p.read_text()))], ids=name_of)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, code, line in blocks(page.read_text()):
        if language == "python":
            exec(compile("\n" * line + code, str(page), "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
        said = []
        doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
        assert not said, "".join(said)
        names.update(test.globs)


def listed_modules():
    """The modules of the API reference, whose pages list their ``__all__``."""
    return re.findall(r"^   (histoexpr[.\w]*)$", (DOCS / "api.rst").read_text(), re.MULTILINE)


def test_everything_public_stands_in_the_reference():
    modules = [importlib.import_module(name) for name in listed_modules()]
    known = {module.__name__.rpartition(".")[2] for module in modules}
    for module in modules:
        known |= set(getattr(module, "__all__", vars(module)))
    assert set(histoexpr.__all__) - {"__version__"} <= known


@pytest.mark.parametrize("name", listed_modules())
def test_every_summary_is_a_sentence(name):
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        summary = (thing.__doc__ or "").strip().partition("\n\n")[0]
        assert summary.endswith(".") or not callable(thing), f"{public}: {summary!r}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_method_has_a_page_and_a_picture():
    pages = (DOCS / "methods.md").read_text()
    for name in histoexpr.methods.__all__:
        method = getattr(histoexpr.methods, name)
        if not issubclass(method, histoexpr.BaseExpressionRegressor):
            assert name in pages  # a baseline
            continue
        assert f"methods/{name.lower()}.md" in pages
        page = (DOCS / "methods" / f"{name.lower()}.md").read_text()
        assert f"../images/{name.lower()}.svg" in page
        for part in ("## In formulas", "## Defaults", "{departures}", "{measured}"):
            assert part in page, (name, part)
