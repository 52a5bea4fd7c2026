"""Train networks: one engine for the image and the video networks. It never imports `faces`."""

import common  # noqa: F401 - says what a command of this folder needs
