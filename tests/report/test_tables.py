"""Numbers are spelled with three digits, tables fit a page."""

import pytest

from graphcnn.report.tables import (
    WIDTH,
    binary_size,
    count,
    dimensions,
    milliseconds,
    scientific,
    table,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (milliseconds(1.2345e-5), "0.0123 ms"),
        (milliseconds(1.2345e-2), "12.3 ms"),
        (milliseconds(1.2345), "1,234 ms"),
        (binary_size(0), "0 B"),
        (binary_size(1023), "1023 B"),
        (binary_size(1536), "1.50 KiB"),
        (binary_size(3 * 2**40), "3.00 TiB"),
        (count(9999), "9,999"),
        (count(57_412_345), "57.4 M"),
        (count(2_500_000_000), "2.50 G"),
        (count(15_470_264_320), "15.5 G"),
        (scientific(0.0), "0"),
        (scientific(1.25e-7), "1.2e-07"),
        (dimensions((1, 3, 224, 224)), "1x3x224x224"),
    ],
)
def test_numbers(text, wanted):
    assert text == wanted


def test_a_table_shows_every_cell_within_its_width():
    long = " ".join(f"word{index}" for index in range(60))
    text = table("a [bold] title", ("name", "words", "number"), [("x", long, "12")], words=2)
    lines = text.splitlines()
    assert lines[0] == "a [bold] title"
    assert all(len(line) <= WIDTH for line in lines)
    assert all(word in text for word in long.split())
    assert next(line for line in lines if " x " in line).endswith("12")
    assert "\x1b" not in text
