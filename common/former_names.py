"""Commands under their names of the previous release: `python -m quality.queue` still works. To be removed in the next.

A package that had such commands calls `accept`. docs/commands.md lists the names.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

from common.files import ROOT

FORMER = {
    "inference.serve": "forensics/serve/__main__.py",
    "inference.compare_clips": "forensics/compare/__main__.py",
    "quality.queue": "forensics/queue/__main__.py",
    "quality.export": "inference/networks/export.py",
    "quality.leaks": "quality/sets/leaks.py",
    "quality.layouts": "quality/sets/layouts.py",
    "quality.ship": "shipped/release.py",
    "quality.where": "shipped/maps.py",
    "quality.sets.__main__": "shipped/sets.py",
    "benchmarks.card": "benchmarks/gpu.py",
}


class FormerNames(MetaPathFinder):
    """Finds the file of a command by its former name."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The module under its former name; None for a name that is not a former one."""
        file = FORMER.get(fullname)
        return importlib.util.spec_from_file_location(fullname, ROOT / file) if file else None


def accept() -> None:
    """Let former names be found, after all others."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
