"""Commands and modules under their names of the previous release work for one more."""

import pytest

from common.former_names import FORMER, ROOT


@pytest.mark.parametrize("name", FORMER)
def test_a_command_runs_under_its_former_name(start, name):
    if name == "quality.layouts":
        assert start("-c", "from quality.layouts import How, read_items; print(read_items.__name__)").stdout
        return
    done = start("-m", name.removesuffix(".__main__"), "--help")
    assert done.stdout.startswith("usage: ")


def test_former_names_lead_to_files_and_are_not_taken():
    for name, file in FORMER.items():
        assert (ROOT / file).is_file()
        assert not (ROOT / f"{name.replace('.', '/')}.py").exists()
