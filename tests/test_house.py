"""The house: which room imports which, which modules need no PyTorch, and that pages and citations fit the code."""

import ast
import re
import subprocess
import sys

import pytest

from common.status import Status
from tests.conftest import ROOT

# Which rooms a room may import; `script` stands for the files at the top.
MAY_IMPORT = {
    "common": set(),
    "faces": {"common"},
    "training": {"common"},
    "image_based": {"common", "training"},
    "video_based": {"common", "training"},
    "preprocessing": {"common", "faces"},
    "pretrain": {"common", "faces", "training", "video_based"},
    "inference": {"common", "faces", "training", "image_based", "video_based", "pretrain"},
    "forensics": {"common", "faces", "inference"},
    "quality": {"common", "faces", "training", "inference"},
    "shipped": {"common", "faces", "training", "image_based", "inference", "quality"},
    "script": {"common", "faces", "preprocessing"},
    "demo": {"common", "faces", "training", "inference", "pretrain"},
}
WITHOUT_TORCH = (
    *(
        "inference.results",
        "inference.evidence.collect",
        "inference.evidence.pages",
        "inference.merge",
        "inference.members",
    ),
    *(
        "inference.scorer",
        "inference.predict",
        "inference.run",
        "inference.networks.runtimes",
        "pretrain.retinaface",
    ),
    *(
        "inference.sampling.look",
        "forensics.serve",
        "forensics.compare",
        "preprocessing.one_video",
        "preprocess",
        "make_lists",
    ),
    *("training.config", "training.state"),
)


def sources():
    """Path, room and text of every source file that git knows, except tests and benchmarks."""
    for path in subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True,
                               text=True, check=True).stdout.split():  # fmt: skip
        room = path.split("/")[0] if "/" in path else "script"
        if room not in ("tests", "benchmarks") and (ROOT / path).is_file():
            yield path, room, (ROOT / path).read_text(encoding="utf-8")


def imported(source):
    """The top-level names that a file imports, at its head or later."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            yield node.module.partition(".")[0]


def test_imports_point_down():
    """No file imports what the table forbids, and the table allows nothing that no file needs."""
    found = {room: set() for room in MAY_IMPORT}
    ours = {*MAY_IMPORT, "benchmarks", "tests"}
    scripts = {path.stem for path in ROOT.glob("*.py")}
    for path, room, source in sources():
        names = set(imported(source)) & (ours | scripts)
        assert names - {room} <= MAY_IMPORT[room], path
        found[room] |= names - {room}
    assert found == MAY_IMPORT


def test_every_cited_section_of_the_reference_exists():
    """Code and configs cite it as (reference, section 3)."""
    page = (ROOT / "docs/reference/reference.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\d)\. ", page, re.MULTILINE))
    configs = [path for path in ROOT.glob("**/*.yaml") if not path.relative_to(ROOT).parts[0].startswith(".venv")]
    texts = {path: source for path, _, source in sources()}
    texts |= {str(path): path.read_text(encoding="utf-8") for path in configs}
    cited = [
        (path, number)
        for path, text in texts.items()
        for phrase in re.findall(r"reference, sections? (\d[^.;]*)", re.sub(r"\s*\n\s*(?:# )?", " ", text))
        for number in re.findall(r"^\d|(?<=and )\d(?= \()", phrase)
    ]
    assert len(cited) > 25
    assert [(path, number) for path, number in cited if number not in sections] == []
    assert [path for path, text in texts.items() if "contract, section" in text] == [], "the old name of the page"
    assert "docs/reference/reference.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_rows_evidence_and_pages_need_no_pytorch():
    code = f"import sys, {', '.join(WITHOUT_TORCH)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_waits_for_no_decoder():
    code = "import sys, inference.predict; sys.exit(bool({'cv2', 'av', 'onnxruntime', 'tqdm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("document", "without"),
    [
        ("inference/README.md", {Status.WRITE_ERROR, Status.DAMAGED, Status.PENDING}),
        (
            "docs/train/preprocessing.md",
            {Status.TOO_FEW_FRAMES, Status.CHANGED, Status.NOT_FINITE, Status.DAMAGED, Status.PENDING},
        ),
    ],
)
def test_documents_name_every_status(document, without):
    (line,) = (line for line in (ROOT / document).read_text(encoding="utf-8").splitlines() if "`no_face`" in line)
    assert set(re.findall(r"`(\w+)`", line)) >= set(Status) - without
    assert not set(re.findall(r"`(\w+)`", line)) & without


def test_every_link_between_pages_leads_to_a_file():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/README.md")]
    links = [
        (page, target.split("#")[0])
        for page in [*pages, ROOT / "inference/submit_models/README.md"]
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("#")
    ]
    assert len(links) > 60
    assert [(page, target) for page, target in links if not page.parent.joinpath(target).exists()] == []
