"""Still images, and more faces than two."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from common.status import Status
from faces.stills import Still
from faces.streams import DecodeError, UnsupportedError
from faces.tracking import track_faces
from faces.video_files import is_picture
from inference import Scorer
from inference.members import MEMBERS
from inference.networks.runtimes import member_score
from inference.sampling.sampled import Face
from inference.scoring import A_PICTURE


@pytest.fixture(scope="module")
def several(weights):
    """A scorer of up to ten faces."""
    with Scorer(max_faces=10) as made:
        yield made


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp"])
def test_a_still_image_is_scored_as_one_group(scorer, frames, tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    Image.fromarray(frames[0][..., ::-1]).save(path, format={".JPEG": "jpeg"}.get(suffix))
    result = scorer.score(path)
    assert (result.status, result.frames, len(result.faces)) == (Status.OK, 1, 1)
    result.save_evidence(tmp_path)
    facts = json.loads((tmp_path / f"face{suffix}.json").read_text())
    assert facts["video"]["still"]
    groups = facts["members"]["lite0"]["faces"][0]["groups"]
    assert [(group["times"], group["copies"]) for group in groups] == [([0.0], 0)]
    assert facts["members"]["lite0"]["score"] == groups[0]["score"]
    assert "This is a still image: its only frame is scored alone" in facts["not_analysed"][0]
    assert "a still image" in result.page()


def test_a_still_image_scores_like_a_video_of_it(scorer, frames, tmp_path):
    """The mean of the logits of five equal frames is that of one frame."""
    picture, video = tmp_path / "one.png", tmp_path / "five.avi"
    cv2.imwrite(str(picture), frames[0])
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"FFV1"), 25, (640, 360))
    for _ in range(5):
        writer.write(frames[0])
    writer.release()
    assert scorer.score(picture).label == pytest.approx(scorer.score(video).label, abs=0.01)  # YUV loses a little


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_it_upright(tmp_path, orientation):
    pixels = np.random.RandomState(0).randint(0, 256, (40, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(pixels).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))[..., ::-1]
    still = Still(path)
    np.testing.assert_array_equal(still.image, expected)
    assert (still.info.height, still.info.width) == expected.shape[:2]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
def test_every_kind_of_pixels_is_read(tmp_path, mode):
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new(mode, (30, 20)).save(path)
    assert Still(path).image.shape == (20, 30, 3)


def test_what_is_not_an_image_says_so(scorer, tmp_path):
    cut = tmp_path / "cut.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (90, 90, 3), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    with pytest.raises(DecodeError):
        Still(cut)
    head = tmp_path / "head.jpg"
    head.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnsupportedError):
        Still(head)
    assert scorer.score(cut).status == Status.DECODE_ERROR
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    assert not is_picture(text)
    assert scorer.score(text).status == Status.UNSUPPORTED


def test_video_members_do_not_score_still_images():
    face = Face([], [], {}, group=1)
    score = member_score(MEMBERS["sf1"], [np.empty((0, 2))], [face])
    assert (score.value, score.rule) == (None, A_PICTURE)


def test_a_folder_stands_for_its_videos_and_a_pattern_for_images_too(run, frames, film, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(film.read_bytes())
    cv2.imwrite(str(folder / "face.png"), frames[0])
    done = run("-m", "inference.predict", folder, "--output", tmp_path / "a.csv")
    assert "1 ok" in done.stdout
    assert "left out 1: face.png" in done.stdout
    done = run("-m", "inference.predict", folder / "*", "--output", tmp_path / "b.csv")
    assert "2 ok" in done.stdout


def test_every_face_of_an_image_has_its_own_row(scorer, several, clip, tmp_path):
    """Of five persons the reference scores two."""
    path = clip("multi_face.jpg")
    two, all_of_them = scorer.score(path), several.score(path)
    assert (len(two.faces), len(all_of_them.faces)) == (2, 5)
    assert all_of_them.label == two.label
    assert [face.decides for face in all_of_them.faces] == [True, True, False, False, False]
    assert [face.score for face in two.faces] == [face.score for face in all_of_them.faces[:2]]
    assert len({face.boxes for face in all_of_them.faces}) == 5
    page = all_of_them.page()
    assert page.count('<h2 class="face">') == 5
    assert "The label depends on 2 of 5 scored faces" in page


def test_all_faces_decide_if_asked(weights, clip):
    with Scorer(max_faces=10, decision_faces=10) as every:
        result = every.score(clip("multi_face.jpg"))
    scores = [face.score for face in result.faces]
    assert all(face.decides for face in result.faces)
    members = result.members
    highest = {name: max(face.members[name] for face in result.faces) for name in members}
    lowest = {name: min(face.members[name] for face in result.faces) for name in members}
    assert all(lowest[name] <= members[name] <= highest[name] for name in members)
    assert len(scores) == 5


def test_faces_beyond_the_vote_come_after_those_of_the_reference():
    """Most frames show two faces; two more are seen in five frames and in one."""

    def box(place):
        return [100.0 * place, 0.0, 100.0 * place + 50, 50.0, 0.99]

    frames = [np.array([box(0), box(1)]) for _ in range(7)]
    frames += [np.array([box(0), box(1), box(2)]) for _ in range(5)]
    frames[0] = np.array([box(0), box(1), box(4)])
    plain, more = track_faces(frames, 2), track_faces(frames, 2, more=8)
    assert [len(track) for track in plain.tracks] == [12, 12]
    assert [len(track) for track in more.tracks] == [12, 12, 5]  # one frame is a chance find
    assert more.chosen == plain.chosen == 2
