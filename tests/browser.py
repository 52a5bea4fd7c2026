"""Headless Chromium, driven by its DevTools protocol over two pipes: JSON messages that end with a null byte."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import wait_for

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
# Chromium reads commands from file 3 and writes to file 4.
ON_3_AND_4 = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3), os.dup2(answers, 4), os.execvp(sys.argv[3], sys.argv[3:])
"""
KEYS = {"Tab": 9, "Enter": 13, "Space": 32}


class Browser:
    """A headless browser with an empty profile."""

    def __init__(self, profile):
        """Start it. The test is skipped if none is installed."""
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if not program:
            pytest.skip("no Chromium here: make browser-install")
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        launcher = [sys.executable, "-c", ON_3_AND_4, str(commands), str(answers)]
        self.process = subprocess.Popen(
            [*launcher, program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self.ids, self.unread, self.events = itertools.count(1), b"", []

    def close(self):
        self.call("Browser.close")
        self.process.wait(20)
        os.close(self.commands)
        os.close(self.answers)

    def call(self, method, session=None, **parameters):
        """The result of a command."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def event(self, method, seconds=30):
        """The parameters of the next event of a kind."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for index, event in enumerate(self.events):
                if event["method"] == method:
                    return self.events.pop(index)["params"]
            self.events.append(self._read())
        raise AssertionError(f"no {method}")

    def _read(self, seconds=60):
        while b"\0" not in self.unread:
            assert select.select([self.answers], [], [], seconds)[0], "the browser does not answer"
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser has ended"
            self.unread += part
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)


class Page:
    """A page in a browser, with its own session."""

    def __init__(self, browser, width=900, height=900, scheme="light"):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.target = target
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def open(self, url):
        """Open an address and wait until it is loaded."""
        self.browser.events = [event for event in self.browser.events if event["method"] != "Page.loadEventFired"]
        assert "errorText" not in self.call("Page.navigate", url=url)
        self.browser.event("Page.loadEventFired")

    def js(self, expression):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression, seconds=60):
        """The value of a JavaScript expression as soon as it is true."""
        return wait_for(lambda: self.js(expression), seconds)

    def drop(self, *paths):
        """Drop files onto the page, as from a file manager."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)

    def press(self, key, shift=False):
        """Press and release a key."""
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        how = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        modifiers = 8 if shift else 0
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, modifiers=modifiers, **how)
        self.call("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **how)

    def picture(self, **how):
        """A screenshot of the visible part, as the bytes of an image file."""
        return base64.b64decode(self.call("Page.captureScreenshot", **how)["data"])

    def console(self):
        """What the page wrote to its console, including violations of its Content-Security-Policy."""
        self.js("1")
        logged = [event for event in self.browser.events if event.get("sessionId") == self.session]
        entries = [event["params"]["entry"]["text"] for event in logged if event["method"] == "Log.entryAdded"]
        thrown = [str(event["params"]) for event in logged if event["method"] == "Runtime.exceptionThrown"]
        return entries + thrown


def check_width_and_colours(page, scheme):
    """Check that a page fits into 360 pixels, is light or dark as asked, and that its words can be read."""
    assert page.js("innerWidth") == 360
    assert page.js("document.documentElement.scrollWidth") <= 360
    paper = page.js("getComputedStyle(document.body).backgroundColor")
    assert (brightness(paper) < 0.1) == (scheme == "dark")
    for words in json.loads(page.js(COLOURS)):
        assert contrast(words["ink"], words["paper"]) >= 4.5, words


COLOURS = """JSON.stringify([...document.querySelectorAll('body *')]
  .filter(node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()) && node.offsetParent)
  .map(node => {
    let behind = node;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    const [ink, paper] = [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
    return {text: node.textContent.slice(0, 40), ink, paper};
  }))"""


def brightness(colour):
    """The relative luminance of `rgb(r, g, b)`, by WCAG 2."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(ink, paper):
    """The contrast of two colours, by WCAG 2; 4.5 is enough for words."""
    low, high = sorted((brightness(ink), brightness(paper)))
    return (high + 0.05) / (low + 0.05)
