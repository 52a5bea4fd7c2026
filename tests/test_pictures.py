"""Still images, and more faces than two."""

import json
import struct
import warnings
import zlib

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from common.status import Status
from faces.containers import picture_format
from faces.stills import Still
from faces.streams import DecodeError, UnsupportedError
from faces.tracking import track_faces
from faces.video_files import is_picture
from inference import Scorer
from inference.members import MEMBERS
from inference.networks.runtimes import member_score
from inference.sampling.sampled import Face
from inference.scoring import A_PICTURE
from tests.strange import encode


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


@pytest.mark.parametrize("name", ["photo.heic", "photo.avif", "IMG_0001.jpg", "photo"])
def test_what_phones_write_is_one_image_under_any_name(scorer, frames, tmp_path, name):
    """ffmpeg opens HEIC and AVIF as films, the tiles of an iPhone's photo as 48 streams."""
    path = tmp_path / name
    pillow_heif.register_heif_opener()
    kind = "avif" if name.endswith("avif") else "heif"
    Image.fromarray(frames[0][..., ::-1]).save(path, format=kind, quality=90)
    result = scorer.score(path)
    assert (result.status, result.frames) == (Status.OK, 1)
    plain = tmp_path / "plain.png"
    cv2.imwrite(str(plain), frames[0])
    assert result.label == pytest.approx(scorer.score(plain).label, abs=0.15)


@pytest.mark.parametrize("kind", ["heif", "avif"])
def test_a_cut_phone_picture_is_damaged(tmp_path, kind):
    pillow_heif.register_heif_opener()
    path = tmp_path / "cut"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (200, 300, 3), np.uint8)).save(path, format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert picture_format(path)
    with pytest.raises(DecodeError):
        Still(path)


@pytest.mark.parametrize(("kind", "name"), [("tiff", "TIFF"), ("bmp", "BMP"), ("jpeg2000", "JPEG 2000")])
def test_a_picture_that_is_not_read_is_called_by_its_name(scorer, tmp_path, kind, name):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (90, 60), "grey").save(path, format=kind)
    result = scorer.score(path)
    assert result.status == Status.UNSUPPORTED
    assert f"a {name} file" in result.reason


def test_grey_of_16_bits_keeps_its_tones(tmp_path):
    tones = np.arange(256, dtype=np.uint16).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "deep.png"), tones * 257)
    np.testing.assert_array_equal(Still(tmp_path / "deep.png").image, np.repeat(tones[..., None], 3, axis=2))


def test_what_alpha_hides_is_white_and_said(tmp_path):
    pixels = np.full((10, 20, 4), (200, 100, 50, 255), np.uint8)
    pixels[:, 10:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "cutout.png")
    still = Still(tmp_path / "cutout.png")
    assert np.unique(still.image[:, 10:]) == [255]
    assert still.image[0, 0].tolist() == [50, 100, 200]
    assert still.info.notes == ("50.0% of the picture is transparent: scored on white, as viewers show it",)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "solid.png")
    assert Still(tmp_path / "solid.png").info.notes == ()


def test_large_profiles_and_texts_refuse_no_pixels(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (20, 30, 3), np.uint8)
    text = PngInfo()
    text.add_text("comment", "x" * 3_000_000, zip=True)
    path = tmp_path / "texts.png"
    Image.fromarray(pixels).save(path, pnginfo=text, icc_profile=bytes(3_000_000))
    np.testing.assert_array_equal(Still(path).image, pixels[..., ::-1])


@pytest.mark.parametrize("width", [20_000, 50_000])
def test_one_limit_of_size_in_our_words(tmp_path, width):
    """Pillow warns from 89 million pixels on, and refuses from 179 million."""
    path = tmp_path / "large.png"
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, 15_000, 8, 0, 0, 0, 0)), (b"IDAT", b"")
    content = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    with warnings.catch_warnings(action="error"), pytest.raises(UnsupportedError, match="more than 250 million pixels"):
        Still(path)


def test_a_phone_with_200_megapixels_is_read(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("L", (16_320, 12_240)).save(path, quality=10)
    with warnings.catch_warnings(action="error"):
        assert Still(path).image.shape == (12_240, 16_320, 3)


def test_a_folder_or_a_pattern_stands_for_videos_and_images(run, frames, film, tmp_path):
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    (folder / "frames.mp4").mkdir()
    (folder / "film.mp4").write_bytes(film.read_bytes())
    (folder / "sub" / "film.mp4").write_bytes(film.read_bytes())
    (folder / "again").symlink_to(folder)
    cv2.imwrite(str(folder / "face.JPG"), frames[0])
    done = run("-m", "inference.predict", folder, "--output", tmp_path / "a.csv")
    assert "2 ok" in done.stdout
    assert "left out 3: again/, frames.mp4/, sub/" in done.stdout
    done = run("-m", "inference.predict", folder / "*", "--output", tmp_path / "b.csv")
    assert "2 ok" in done.stdout
    done = run("-m", "inference.predict", folder, "--recursive", "--output", tmp_path / "c.csv")
    assert "3 ok" in done.stdout
    names = [line.split(",")[0] for line in (tmp_path / "c.csv").read_text().splitlines()[1:]]
    assert names == ["face.JPG", "film.mp4", "sub/film.mp4"]


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


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif"])
def test_an_animation_says_that_its_first_picture_was_examined(scorer, frames, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    first, *others = [Image.fromarray(frame[..., ::-1]) for frame in frames[:9:3]]
    first.save(path, save_all=True, append_images=others, duration=100)
    result = scorer.score(path)
    assert "the first of 3 pictures in the file was examined" in result.notes
    result.save_evidence(tmp_path)
    sentence = "The file holds 3 pictures: only the first was examined, and nothing can be seen over time."
    assert json.loads((tmp_path / f"a{suffix}.json").read_text())["not_analysed"][0] == sentence
    assert sentence in result.page()


def test_a_turn_that_only_xmp_names_is_ignored(frames, tmp_path):
    """As browsers and phones do; Pillow takes it from there if Exif has none."""
    xmp = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>"""
    Image.fromarray(frames[0][..., ::-1]).save(tmp_path / "x.jpg", xmp=xmp, quality=95)
    still = Still(tmp_path / "x.jpg")
    assert still.info.notes == ()
    assert np.abs(still.image.astype(int) - frames[0]).mean() < 3


def test_a_transparent_level_of_16_bits_is_laid_on_white(tmp_path):
    levels = np.full((4, 6), 1000, np.uint16)
    levels[:, :3] = 65000
    levels[0] = 500
    header = struct.pack(">IIBBBBB", 6, 4, 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    chunks = [(b"IHDR", header), (b"tRNS", struct.pack(">H", 1000)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    (tmp_path / "t.png").write_bytes(content)
    still = Still(tmp_path / "t.png")
    assert still.info.transparent == pytest.approx(9 / 24)
    assert still.image[1, 5].tolist() == [255, 255, 255]
    assert still.image[0, 0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("size", [(60000, 8), (8, 60000)])
def test_a_picture_too_thin_for_the_detector_has_no_face(scorer, tmp_path, size):
    Image.new("RGB", size, (90, 120, 150)).save(tmp_path / "thin.png")
    assert scorer.score(tmp_path / "thin.png").status == Status.NO_FACE


def test_a_still_says_which_members_were_left_out(run, clip, tmp_path):
    run("-m", "inference.predict", clip("multi_face.jpg"), "--members", "lite0,lite2,b0", "--allow-missing",
        "--evidence", tmp_path, "--output", tmp_path / "s.csv")  # fmt: skip
    assert "These members have no checkpoint and were left out: b0." in (tmp_path / "multi_face.jpg.html").read_text()


def test_a_video_of_too_few_frames_claims_no_scored_face(scorer, clip, tmp_path):
    """Four frames of five people: they were found, but no network looked."""
    photo = cv2.imread(str(clip("multi_face.jpg")))
    height, width = (side // 2 * 2 for side in photo.shape[:2])
    result = scorer.score(encode(tmp_path / "four.mp4", [photo[:height, :width]] * 4))
    assert result.status == Status.TOO_FEW_FRAMES
    assert result.notes[-1] == "20 of 20 detections not scored"
    page = result.page()
    assert "No face was scored." in page
    assert "seen longest" not in page


def test_most_frames_are_more_than_half(scorer, clip, frames, tmp_path):
    """Of ten frames, four show five people, three show one, three show none: the vote is for five."""
    photo = cv2.resize(cv2.imread(str(clip("multi_face.jpg"))), (640, 360))
    empty = np.full_like(photo, 128)
    result = scorer.score(encode(tmp_path / "mixed.mp4", [photo] * 4 + list(frames[:3]) + [empty] * 3))
    page = result.page()
    assert "Most frames" not in page
    assert "no other number of faces is shown more often" in page
