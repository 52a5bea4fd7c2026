"""The pages of evidence and of a comparison in a real browser: dark and light, on a phone, with their switch."""

from itertools import islice

import cv2
import numpy as np
import pytest

import inference.evidence.maps
from demo.swap import swap_clip
from demo.tree import PHOTO, photo_face
from faces.video import read_frames
from forensics.compare.page import write_comparison
from forensics.compare.steps import compare_files
from inference import Scorer
from tests.browser import Page, check_width_and_colours
from tests.strange import encode

pytestmark = pytest.mark.browser
MAPS = "[...document.querySelectorAll('img.map')].filter(image => image.offsetParent).length"


@pytest.fixture(scope="module")
def pages(browser, clip, detector, tmp_path_factory):
    """A comparison of a swap with its original; its evidence has perturbed versions, and all maps count as passed."""
    folder = tmp_path_factory.mktemp("pages")
    real = list(islice(read_frames(clip("single_face.mp4")), 20))
    original = encode(folder / "original.mp4", real)
    suspect = encode(folder / "suspect.mp4", swap_clip(detector, real, [photo_face(detector, PHOTO, 0)]))
    with pytest.MonkeyPatch.context() as patch, Scorer(stability=True) as scorer:
        patch.setattr(inference.evidence.maps.Tested, "proven", True)
        write_comparison(compare_files(suspect, original, scorer), scorer.provenance, folder / "found")
    return folder / "found"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["comparison.html", "suspect/suspect.mp4.html"])
def test_a_page_fits_a_phone_and_can_be_read(browser, pages, scheme, name):
    page = Page(browser, width=360, height=740, scheme=scheme)
    page.open((pages / name).as_uri())
    check_width_and_colours(page, scheme)
    assert page.js("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.console() == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_switch_lays_the_maps_over_the_crops(browser, pages, scheme):
    """The switch is off at first. The space bar turns it on, and the page looks different."""
    page = Page(browser, scheme=scheme)
    page.open((pages / "suspect/suspect.mp4.html").as_uri())
    assert page.js(MAPS) == 0
    page.js("const box = document.querySelector('input.where'); box.scrollIntoView(); box.focus()")
    before = pixels(page)
    page.press("Space")
    assert page.js(MAPS) == page.js("document.querySelectorAll('img.map').length") > 0
    assert (np.abs(pixels(page) - before).max(axis=2) > 30).sum() > 1000
    page.press("Space")
    assert page.js(MAPS) == 0
    page.close()


def test_the_comparison_leads_to_both_evidences(browser, pages):
    page = Page(browser)
    page.open((pages / "comparison.html").as_uri())
    assert page.js("document.querySelectorAll('#found li').length") == 3
    assert page.js("document.querySelectorAll('.triples img').length") >= 4
    links = page.js("[...document.querySelectorAll('#scores a')].map(link => link.href)")
    for link, name in zip(links, ("suspect.mp4", "original.mp4"), strict=True):
        page.open(link)
        assert page.js("document.querySelector('h1').textContent") == name
        assert page.js("document.querySelector('#stability') !== null")
    page.close()


def pixels(page):
    """The visible part of the page as an array, [H, W, 3]."""
    return cv2.imdecode(np.frombuffer(page.picture(format="png"), np.uint8), cv2.IMREAD_COLOR).astype(int)
