"""What is asked of NVIDIA's driver, on a machine that has none."""

import ctypes

import pytest

from graphcnn import nvidia


class Library:
    """libcuda, as far as it is asked."""

    def __init__(self, version=12_080, devices=2, works=True):
        self.version, self.devices, self.works = version, devices, works

    def cuInit(self, flags):  # noqa: N802
        return 0 if self.works else 100

    def cuDriverGetVersion(self, place):  # noqa: N802
        place._obj.value = self.version
        return 0 if self.works else 999

    def cuDeviceGetCount(self, place):  # noqa: N802
        place._obj.value = self.devices
        return 0


@pytest.fixture
def driver(monkeypatch):
    def install(library):
        def load(name):
            assert name == "libcuda.so.1"
            if library is None:
                raise OSError("cannot open shared object file")
            return library

        monkeypatch.setattr(ctypes, "CDLL", load)
        nvidia.library.cache_clear()

    yield install
    nvidia.library.cache_clear()


@pytest.mark.parametrize(
    ("library", "cuda", "devices"),
    [
        (Library(), (12, 8), 2),
        (Library(13_000, 0), (13, 0), 0),
        (Library(works=False), None, 0),
        (None, None, 0),
    ],
)
def test_what_the_driver_serves(driver, library, cuda, devices):
    driver(library)
    assert nvidia.newest_cuda() == cuda
    assert nvidia.devices() == devices


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\nGCC 12.3.0",
            "535.129.03",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build",
            "580.159.04",
        ),
        ("something else", "for CUDA 12.8"),
        (None, "for CUDA 12.8"),
    ],
)
def test_the_version_of_the_driver(driver, tmp_path, monkeypatch, text, version):
    driver(Library())
    file = tmp_path / "version"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(nvidia, "_MODULE", file)
    assert nvidia.driver_version() == version


def test_versions_as_people_write_them():
    assert nvidia.dotted((12, 8)) == "12.8"
    assert nvidia.dotted(None) == "unknown"
