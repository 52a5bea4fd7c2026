"""The process of an external detector: `python -P detector_process.py FILE`, started by quality/external.py.

It imports nothing of this project. It answers each line on its input, a path as JSON, with a line of JSON on what was
its output: `score`, or `error`. Whatever the detector prints goes to stderr.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Load the detector, then answer until the input ends."""
    file = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.argv = [str(file)]
    sys.path.insert(0, str(file.parent))

    def answer(**content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        spec = importlib.util.spec_from_file_location("external_detector", file)
        if spec is None or spec.loader is None:
            raise ImportError("not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickle look it up there
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        return answer(error=f"cannot be loaded: {named(error)}")
    predict = getattr(module, "predict", None)
    if not callable(predict):
        return answer(error="has no function predict(path) -> float")
    answer(loaded=True)
    for line in sys.stdin:
        try:
            answer(score=float(predict(json.loads(line))))
        except (Exception, SystemExit) as error:
            answer(error=f"raised {type(error).__name__}: {error}")
    return None


def named(error: BaseException) -> str:
    """An error in words; those of imports and syntax say enough by themselves."""
    if isinstance(error, SystemExit):
        return f"it ended itself with status {error.code}, as a script does that reads a command line"
    return str(error) if isinstance(error, ImportError | SyntaxError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
