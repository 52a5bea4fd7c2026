"""The image networks and their training: one crop in, one probability out."""

import common  # noqa: F401 - says what a command of this folder needs
