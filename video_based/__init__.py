"""The video networks: a clip of crops in, one probability out."""

import common  # noqa: F401 - says what a command of this folder needs
