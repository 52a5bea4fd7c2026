"""All stages on sample clips: `make demo`."""

import common  # noqa: F401 - says what a command of this folder needs
