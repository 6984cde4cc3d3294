"""Engines that compute y = 2 x, or do not, for the harness in `bench/engines`."""

import json
import os
import time

import numpy as np

from bench.engines.peers import Absent, Engine

CALL_SECONDS = 0.06  # one call is a turn


def export(case, folder):
    """An image, what to expect of it, and where calls are written down."""
    image = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    np.save(folder / "image.npy", image)
    np.save(folder / "expected.npy", 2.0 * image)
    (folder / "facts.json").write_text(json.dumps({"weights_bytes": 4}))


class Right(Engine):
    name, package = "right", "numpy"

    def start(self):
        pass

    def load(self, image):
        def call():
            time.sleep(CALL_SECONDS)
            return 2 * image

        return call


class Noted(Right):
    """Writes down its calls, in a file that all of them share."""

    def load(self, image):
        calls = super().load(image)
        path = os.environ["GRAPHCNN_TEST_CALLS"]

        def call():
            with open(path, "a") as file:
                file.write(f"{self.name}\n")
            return calls()

        return call


class First(Noted):
    name = "first"


class Second(Noted):
    name = "second"


class Own(Right):
    name, own = "own", True


class Wrong(Right):
    name = "wrong"

    def load(self, image):
        return lambda: 2 * image + np.float32(0.1)


class NotANumber(Right):
    name = "not a number"

    def load(self, image):
        return lambda: image * np.float32("nan")


class NotInstalled(Right):
    name = "not installed"

    def start(self):
        import an_engine_that_is_nowhere  # noqa: F401


class Refuses(Right):
    name = "refuses"

    def load(self, image):
        raise Absent("it has no bfloat16")


class Fails(Right):
    name = "fails"

    def load(self, image):
        raise KeyError("a layer that it does not know")


class Dies(Right):
    name = "dies"

    def load(self, image):
        os._exit(3)
