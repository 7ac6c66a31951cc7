"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz.run TARGET [libFuzzer's options]``.

Needs the package atheris (``pip install -e ".[fuzz]"``). An input that fails is written as ``crash-*``
into the current folder. It belongs into ``corpus/TARGET``, where the tests find it.
"""

import gc
import itertools
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

import model.relaxometry.kernels  # noqa: F401  # numba compiles no instrumented code

with atheris.instrument_imports(include=["inline"]):
    from .mutations import CORPUS
    from .targets import TARGETS


def main() -> None:
    name, *options = sys.argv[1:] or ["decoder"]
    with tempfile.TemporaryDirectory() as folder:
        # libFuzzer adds the inputs that it keeps to the first folder.
        growing = Path(folder) / name
        shutil.copytree(CORPUS / name, growing)
        numbers = itertools.count()

        def one(data: bytes) -> None:
            TARGETS[name](data)
            # Arrays in reference cycles wait for the collector, which counts objects and not their bytes.
            if next(numbers) % 50 == 0:
                gc.collect()

        atheris.Setup([sys.argv[0], *options, str(growing)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
