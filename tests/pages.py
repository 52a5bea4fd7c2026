"""The code blocks of a page of the documentation, for tests that do what the page says."""

import re
import shlex

from tests.conftest import ROOT


def blocks(page, language):
    """The texts of a page's blocks in a language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no block in {language}"
    return found


def commands(page):
    """The words of each command of ours in a page's shell blocks, in order, without the first, which is `python`."""
    lines = [shlex.split(line, comments=True) for text in blocks(page, "sh") for line in text.splitlines()]
    return [line[1:] for line in lines if line[0] == "python"]


def follow(page, root):
    """Write the files and change the lines that a page shows, in a copy of the repository.

    A file's block begins with a comment, a change's with `---`, and then its path; a change's lines must be there once.
    """
    for text in blocks(page, "python"):
        path = root / text.partition("\n")[0].removeprefix("# ")
        path.write_text(text.partition("\n")[2])
    for text in blocks(page, "diff"):
        path, *lines = text.splitlines()
        path = root / path.removeprefix("--- ")
        before, after = ("\n".join(line[1:] for line in lines if line[0] in kinds) for kinds in (" -", " +"))
        content = path.read_text(encoding="utf-8")
        assert content.count(before) == 1, f"{page}: {path.name} does not have\n{before}"
        path.write_text(content.replace(before, after), encoding="utf-8")
