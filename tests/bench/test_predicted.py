"""The page of predictions says what the code says."""

from pathlib import Path

from bench.predicted import choice_rows, rows

PAGE = (Path(__file__).parents[2] / "docs/predicted.md").read_text().splitlines()


def test_the_page_has_every_row_as_it_is_predicted_now():
    """Else: python -m bench.predicted."""
    assert [row for row in (*rows(), *choice_rows()) if row not in PAGE] == []
