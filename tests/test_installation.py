"""What setup.cfg, the constraints of `make test-lowest` and docs/install.md say is the same."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/install.md").read_text()


def requirements():
    """{extra: {package: its lowest version}}; "" is what is always installed."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {
        extra: dict(line.split(">=") for line in lines.split()) for extra, lines in lists.items()
    }


def test_the_page_lists_what_is_optional():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, -]+) \|", PAGE, re.MULTILINE))
    told = {extra: set(packages.split(", ")) for extra, packages in rows.items()}
    required = {extra: set(packages) for extra, packages in requirements().items() if extra}
    assert told == required


def test_the_page_lists_the_variables():
    told = set(re.findall(r"^\| `(HISTOEXPR_\w+)`", PAGE, re.MULTILINE))
    read = {
        name
        for path in (ROOT / "histoexpr").rglob("*.py")
        for name in re.findall(r"HISTOEXPR_\w+", path.read_text())
    }
    assert told == read


def test_the_lowest_versions_are_those_that_are_tested():
    lines = (ROOT / "tests/constraints-lowest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    for packages in (requirements()[extra] for extra in ("", "texture", "plot", "slides", "test")):
        for package, version in packages.items():
            lowest = version.split(".")
            assert tested[package].split(".")[: len(lowest)] == lowest, package
