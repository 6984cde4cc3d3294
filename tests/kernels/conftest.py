import pytest

from graphcnn import cpu, triton_api


@pytest.fixture(params=["native", "sanitize"])
def run(request):
    """Run launches on the CPU: compiled for speed, and with every memory access checked."""
    driver = cpu.driver(sanitize=request.param == "sanitize")

    def run(launch):
        with triton_api.using(driver):
            launch.run()

    return run
