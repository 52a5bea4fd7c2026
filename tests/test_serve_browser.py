"""The page of `forensics.serve` in a real browser, with the shipped networks: drops, progress, keyboard, width."""

import io
import json
import zipfile
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.browser import Page, check_width_and_colours
from tests.conftest import ROOT, wait_for
from tests.serving import serving

pytestmark = pytest.mark.browser
TEMPLATES = ROOT / "forensics/serve/templates"
ROWS = "[...document.querySelectorAll('.job')].map(row => row.innerText)"
FINISHED = "document.querySelectorAll('#results .job').length === document.querySelectorAll('.job').length"
RESULTS = f"{FINISHED} && document.querySelectorAll('#results .job').length"


@pytest.fixture
def shown(browser, tmp_path):
    """Opens the page of a server, with a real or a fake scorer, and checks that the browser refused nothing in it."""

    @contextmanager
    def show(scorer=None, limits=None, **how):
        with serving(tmp_path, scorer, **limits or {}) as served:
            page = Page(browser, **how)
            page.open(f"http://127.0.0.1:{served.port}/")
            page.wait("document.readyState === 'complete'")
            yield page, served
            assert page.console() == []
            page.close()

    return show


def texts(page):
    return page.js(ROWS)


def test_a_dropped_clip_gets_a_score_and_its_evidence(shown, scorer, clip, run, tmp_path):
    with shown(scorer) as (page, served):
        page.js("document.getElementById('number').value = '2026-117 & more'")
        page.drop(clip("single_face.mp4").resolve())
        page.wait(f"{RESULTS} === 1")
        (job,) = served.ask("GET", "/jobs").json
        assert (job["name"], job["status"]) == ("single_face.mp4", "ok")
        (text,) = texts(page)
        assert "single_face.mp4" in text
        assert f"{job['label']:.2f}" in text
        assert job["verdict"] in text
        assert "real faces like this one score as high" in job["meaning"]
        assert job["meaning"] in text
        assert page.js("document.getElementById('message').textContent").startswith("single_face.mp4: uncertain")
        page.js("document.querySelector('#results .show').click()")
        address = f"http://127.0.0.1:{served.port}/jobs/{job['id']}/page"
        assert page.js("document.querySelector('iframe').src") == address
        page.js("document.querySelector('iframe').scrollIntoView()")
        wait_for(lambda: inked(page.picture()) > 0.02)
        save = page.js("document.querySelector('#results .zip').href")
        assert page.js("document.querySelector('#results .zip').download") == "single_face.mp4.zip"
        (tmp_path / "saved.zip").write_bytes(served.ask("GET", urlsplit(save).path).body)
        with zipfile.ZipFile(tmp_path / "saved.zip") as bundle:
            assert json.loads(bundle.read("single_face.mp4.json"))["case"]["number"] == "2026-117 & more"
        page.open(address)
        assert page.js("document.querySelector('#case td.lines').textContent") == "2026-117 & more"
        assert page.js("document.querySelector('h1').textContent") == "single_face.mp4"
        assert page.js("document.querySelectorAll('img').length") > 3
        assert page.js("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.js("getComputedStyle(document.body).maxWidth") == "860px"
    done = run("-m", "inference.verify", tmp_path / "saved.zip", clip("single_face.mp4"))
    assert "single_face.mp4: identical" in done.stdout


def inked(png):
    """The share of the lower half of a picture that differs from its most frequent brightness."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    lower = image[len(image) // 2 :]
    return (np.abs(lower.astype(int) - np.bincount(lower.ravel()).argmax()) > 20).mean()


def test_a_text_file_says_why_it_has_no_score(shown, scorer, tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "<img src=x onerror=document.title=1>.txt"
    path.write_text("hello")
    with shown(scorer) as (page, _):
        page.drop(path)
        page.wait(f"{RESULTS} === 1")
        (text,) = texts(page)
        assert text.startswith(f"{path.name}\n")
        assert "not scored" in text
        assert "not a video" in text
        assert page.js("document.querySelectorAll('img').length") == 0
        assert page.js("document.title") != "1"


def test_two_files_at_once_and_a_reload_midway(shown, clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for name in ("one.mp4", "two.mp4"):
        (folder / name).write_bytes(b"wait")
    with shown() as (page, served):
        page.drop(folder / "one.mp4", folder / "two.mp4")
        page.wait("document.querySelectorAll('#jobs .job').length === 2 && document.body.innerText.includes('3 of 10')")
        before = texts(page)
        assert ["one.mp4\n" in before[0], "two.mp4\n" in before[1]] == [True, True]
        assert "finding faces: 3 of 10 frames" in before[0]
        assert page.js("document.querySelector('progress').value") == pytest.approx(0.3)
        page.open(f"http://127.0.0.1:{served.port}/")
        page.wait("document.querySelectorAll('#jobs .job').length === 2")
        assert [text.split("\n")[0] for text in texts(page)] == ["one.mp4", "two.mp4"]
        served.scorer.go.set()
        page.wait(f"{RESULTS} === 2")
        page.open(f"http://127.0.0.1:{served.port}/")
        page.wait(f"{RESULTS} === 2")
        assert [text.split("\n")[0] for text in texts(page)] == ["two.mp4", "one.mp4"]  # the newest first


def test_more_files_than_the_queue_holds_wait_in_the_page(shown, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    files = [folder / f"{number}.mp4" for number in range(5)]
    for path in files:
        path.write_bytes(b"wait")
    with shown(limits={"queue": 2}) as (page, served):
        page.drop(*files)
        page.wait("document.body.innerText.includes('3 of 10')")
        waiting = f"{ROWS}.filter(text => text.includes('waiting to be sent')).length === 3"
        page.wait(f"document.querySelectorAll('#jobs .job').length === 5 && {waiting}")
        assert len(served.ask("GET", "/jobs").json) == 2
        assert [text.split("\n")[0] for text in texts(page)] == [path.name for path in files]
        served.scorer.go.set()
        page.wait(f"{RESULTS} === 5")
        assert [job["state"] for job in served.ask("GET", "/jobs").json] == ["done"] * 5


@pytest.mark.parametrize(("name", "most"), [("early.mp4", 1), (f"{'x' * 200}.mp4", 2)])
def test_a_job_reported_before_its_upload_is_answered_has_one_row(shown, tmp_path_factory, name, most):
    """A job whose name the server shortened is another one until the answer comes."""
    path = tmp_path_factory.mktemp("early") / name
    path.write_bytes(b"wait")
    with shown() as (page, _):
        page.js("""{
            const add = XMLHttpRequest.prototype.addEventListener;
            XMLHttpRequest.prototype.addEventListener = function (type, act) {
                add.call(this, type, event => setTimeout(() => act(event), 1000));
            };
            window.most = 0;
            const count = () => { window.most = Math.max(window.most, document.querySelectorAll(".job").length); };
            new MutationObserver(count).observe(document.body, { childList: true, subtree: true });
        }""")
        page.drop(path)
        page.wait("document.body.innerText.includes('3 of 10')")
        page.wait("document.querySelectorAll('.job').length === 1")
        assert page.js("window.most") == most


def test_a_file_that_is_too_large_is_not_sent(shown, tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    path.write_bytes(b"x" * 1001)
    with shown(limits={"bytes": 1000}) as (page, served):
        page.drop(path)
        page.wait(f"{RESULTS} === 1")
        assert "larger than the limit" in texts(page)[0]
        assert served.ask("GET", "/jobs").json == []
        page.js("document.querySelector('.delete').click()")
        assert texts(page) == []


def test_by_keyboard_only(shown, browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "clip.mp4"
    path.write_bytes(b"wait")
    with shown() as (page, served):
        page.call("Page.setInterceptFileChooserDialog", enabled=True)

        def choose():
            tab_to(page, "Choose files")
            page.press("Enter")
            node = browser.event("Page.fileChooserOpened")["backendNodeId"]
            page.call("DOM.setFileInputFiles", files=[str(path)], backendNodeId=node)

        choose()
        page.wait("document.querySelectorAll('.job').length === 1 && document.body.innerText.includes('3 of 10')")
        tab_to(page, "Cancel: clip.mp4")
        page.press("Space")
        page.wait("document.body.innerText.includes('cancelled while it was scored')")
        assert focused(page) == "Delete: clip.mp4"
        page.press("Enter")
        page.wait("!document.querySelector('.job')")
        assert focused(page) == "Choose files"
        served.scorer.go.set()
        choose()
        page.wait(f"{RESULTS} === 1")
        tab_to(page, "Show evidence: clip.mp4")
        assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.press("Enter")
        assert page.js("document.querySelector('iframe').title") == "Evidence for clip.mp4"
        assert focused(page) == "Hide evidence: clip.mp4"
        assert page.js("document.activeElement.getAttribute('aria-expanded')") == "true"
        page.press("Space")
        assert page.js("document.querySelector('iframe')") is None


def focused(page):
    return page.js("document.activeElement.ariaLabel ?? document.activeElement.textContent")


def tab_to(page, name):
    """Press the Tab key until the element of this name has the focus."""
    for _ in range(20):
        if focused(page) == name:
            return
        page.press("Tab")
    raise AssertionError(f"the Tab key does not reach {name}")


def test_a_screen_reader_finds_names_and_states(shown, tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "clip.mp4"
    path.write_bytes(b"wait")
    with shown() as (page, served):
        page.drop(path)
        page.wait("document.body.innerText.includes('3 of 10')")
        page.call("Accessibility.enable")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        named = {(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]}
        assert {
            ("button", "Choose files"),
            ("button", "Cancel: clip.mp4"),
            ("list", "Queue"),
            ("heading", "clip.mp4"),
        } <= named
        assert ("progressbar", "Progress of clip.mp4") in named
        assert page.js("document.querySelector('[role=status]').ariaLive") == "polite"
        served.scorer.go.set()
        page.wait("document.querySelector('[role=status]').textContent === 'clip.mp4: suspicious, score 0.25'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_phone_needs_no_sideways_scrolling_and_words_have_contrast(shown, tmp_path_factory, scheme, path):
    file = tmp_path_factory.mktemp("phone") / f"{'x' * 200}.mp4"
    file.write_bytes(b"video")
    with shown(width=360, height=740, scheme=scheme) as (page, served):
        page.drop(file)
        page.wait(f"{RESULTS} === 1")
        page.js("document.querySelector('#results .show').click()")
        if path != "/":
            page.open(f"http://127.0.0.1:{served.port}{path}")
        check_width_and_colours(page, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_evidence_fits_a_phone_and_has_contrast_too(shown, scorer, clip, scheme):
    with shown(scorer, width=360, height=740, scheme=scheme) as (page, served):
        served.ask("POST", "/score", clip("single_face.mp4").read_bytes())
        job_id = served.jobs.to_json()[0]["id"]
        page.open(f"http://127.0.0.1:{served.port}/jobs/{job_id}/page")
        check_width_and_colours(page, scheme)
