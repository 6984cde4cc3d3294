from .kills import main


def test_a_killed_compile_leaves_a_right_next_one(capfd):
    assert main(count=2) == 0, capfd.readouterr().err
