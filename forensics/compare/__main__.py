"""Compare a suspect clip with its original: when both show the same, and what was changed in it.

Reads  two videos or pictures; checkpoints; the detector
Writes DIR/comparison.html   the page: what was found, both clips' scores, each face beside the original's, where and
                             when they differ, and how much the rest of the picture does
       DIR/comparison.json   every number of it
       DIR/suspect/, DIR/original/   each clip's evidence, as inference.predict writes it

The suspect may be cut from the original in time, scaled, cropped, mirrored, compressed, brighter, or of another frame
rate or speed. A face counts as changed if it differs by 2.5 times what the rest of the picture, as detailed as it,
differs by. docs/compare_clips.md says how that is measured.

The exit status is 2 if a file cannot be read, or if the two have no stretch in common; a line says what was missing.

    python -m forensics.compare suspect.mp4 original.mp4 --output comparison
"""

import argparse
from pathlib import Path

from common.command import run_script
from common.workers import progress
from forensics.compare.page import sentences, write_comparison
from forensics.compare.steps import STAGES, compare_files
from inference.results import utf8_name
from inference.scorer import Scorer
from inference.settings import MEMBER_OPTIONS, Settings, add_options

FACES = 6  # compared of a clip; the label depends on two of them, as always


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", type=Path, metavar="SUSPECT")
    parser.add_argument("original", type=Path, metavar="ORIGINAL")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    add_options(parser, MEMBER_OPTIONS)
    return parser.parse_args()


def main() -> int:
    """Compare, write, and say what was found."""
    options = parse_arguments()
    settings = Settings.of(options, evidence=True).changed(max_faces=FACES)
    with Scorer(settings) as scorer, progress(total=len(STAGES), desc="compare_clips", unit="step") as bar:

        def on_stage(stage: str) -> None:
            bar.set_description(f"compare_clips: {stage}")
            bar.update()

        found = compare_files(options.suspect, options.original, scorer, on_stage)
    facts = write_comparison(found, scorer.provenance, options.output)
    for name in ("suspect", "original"):
        print(f"{name}: {utf8_name(facts[name]['filename'])}: {facts[name]['label']:.3f}, {facts[name]['verdict']}")
    for sentence in sentences(facts):
        print(f"  {sentence}")
    print(f"compare_clips: {options.output / 'comparison.html'}")
    return 0


if __name__ == "__main__":
    run_script(main)
