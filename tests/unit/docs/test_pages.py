"""The pages themselves: proper mdoc, and each refers to what exists."""

import re
import shutil
import subprocess

import pytest

from tests.support.manual import FOLDER, NAMES, page

#: Pages of other programs that ours may point to.
FOREIGN = {"systemd 1"}


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_proper_mdoc(name: str) -> None:
    run = subprocess.run(["mandoc", "-Tlint", "-Wstyle", FOLDER / name], capture_output=True, text=True, check=False)

    # Of pages that are not installed here; the next test knows better.
    assert not [line for line in run.stdout.splitlines() if "referenced manual not found" not in line]


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_that_are_referred_to_exist(name: str) -> None:
    found = set(re.findall(r"^\.(?:Pq )?Xr ([\w.-]+ \d)", page(name), re.MULTILINE))

    assert not {other for other in found if other.replace(" ", ".") not in NAMES} - FOREIGN


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_called_what_it_says(name: str) -> None:
    title, _, number = name.rpartition(".")

    assert f".Dt {title.upper()} {number}\n" in page(name)
    assert f".Sh NAME\n.Nm {title}\n.Nd " in page(name)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_told_to_delete_a_file(name: str) -> None:
    assert not re.search(r"\b(rm|unlink|shred) |delete (the|a|this|that) ", page(name))
