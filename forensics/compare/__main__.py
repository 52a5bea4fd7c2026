"""Compare a suspect clip with its original: when both show the same, and what was changed in it.

Reads  two videos or still images; checkpoints; the detector
Writes DIR/comparison.html   the page: what was found, both clips' scores, each face beside the original's, where and
                             when they differ, and how much the rest of the picture differs
       DIR/comparison.json   all its numbers
       DIR/suspect/, DIR/original/   each clip's evidence, as inference.predict writes it

The suspect may be a part of the original in time or in the picture, scaled, mirrored, compressed, brighter, or at
another frame rate or speed. A face counts as changed if it differs by 2.5 times what equally detailed places in the
rest of the picture differ by. docs/use/comparing_clips.md explains how that is measured.

If the two have no stretch in common, the page says what was missing and shows both scores. The exit status is 2 if a
file cannot be read.

    python -m forensics.compare suspect.mp4 original.mp4
"""

import argparse
from pathlib import Path

from common.command import command_parser, run_script
from common.workers import progress
from forensics.compare.facts import ComparisonFacts, NoMatchFacts
from forensics.compare.in_time import NoCommonMomentError
from forensics.compare.page import describe, write_comparison, write_no_match
from forensics.compare.steps import SCORING, STAGES, compare_files, score_both
from inference.results import utf8_name
from inference.scorer import Scorer
from inference.settings import MEMBER_OPTIONS, Settings, add_options

FACES = 6  # compared per clip, at most; the label depends on two of them, as always


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("suspect", type=Path, metavar="SUSPECT")
    parser.add_argument("original", type=Path, metavar="ORIGINAL")
    parser.add_argument("--output", type=Path, default=Path("comparison"), metavar="DIR", help="default: comparison")
    add_options(parser, MEMBER_OPTIONS)
    return parser.parse_args()


def main() -> int:
    """Compare, write the files, and print what was found."""
    options = parse_arguments()
    settings = Settings.of(options, evidence=True).changed(max_faces=FACES)
    with Scorer(settings) as scorer, progress(total=len(STAGES), desc="compare", unit="step") as bar:

        def on_stage(stage: str) -> None:
            bar.set_description(f"compare: {stage}")
            bar.update()

        clips = options.suspect, options.original
        facts: ComparisonFacts | NoMatchFacts
        try:
            facts = write_comparison(compare_files(*clips, scorer, on_stage), scorer.provenance, options.output)
        except NoCommonMomentError as error:
            on_stage(SCORING)
            results = score_both(*clips, scorer)
            facts = write_no_match(results, str(error), scorer.provenance, options.output)
    for name, clip in (("suspect", facts.suspect), ("original", facts.original)):
        print(f"{name}: {utf8_name(clip.filename)}: {clip.label:.3f}, {clip.verdict}")
    for sentence in describe(facts):
        print(f"  {sentence}")
    print(f"compare: {options.output / 'comparison.html'}")
    return 0


if __name__ == "__main__":
    run_script(main)
