import pytest

from graphcnn import cpu, triton_api


def runner(*, sanitize):
    driver = cpu.driver(sanitize=sanitize)

    def run(launch):
        with triton_api.using(driver):
            launch.run()

    return run


@pytest.fixture(params=["native", "sanitize"])
def run(request):
    """Run launches on the CPU: compiled for speed, and with every memory access checked."""
    return runner(sanitize=request.param == "sanitize")


@pytest.fixture
def run_native():
    """Run launches on the CPU, compiled for speed."""
    return runner(sanitize=False)
