"""Numbers are spelled with three digits, tables fit a page."""

import pytest

from graphcnn.report.tables import (
    WIDTH,
    Table,
    binary_size,
    count,
    dimensions,
    paragraph,
    scientific,
    text,
)


@pytest.mark.parametrize(
    ("spelled", "wanted"),
    [
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
def test_numbers(spelled, wanted):
    assert spelled == wanted


def test_a_table_shows_every_cell_within_its_width():
    long = " ".join(f"word{index}" for index in range(60))
    table = Table("a [bold] title", ("name", "words", "number"), (("x", long, "12"),), words=2)
    printed = text(table)
    lines = printed.splitlines()
    assert lines[0] == "a [bold] title"
    assert all(len(line) <= WIDTH for line in lines)
    assert all(word in printed for word in long.split())
    assert next(line for line in lines if line.startswith("x ")).endswith("12")
    assert "\x1b" not in printed


def test_numbers_stay_whole_and_names_give_way():
    names = [f"encoder.layer{index}.blocks.0.convolution_{index}" for index in range(3)]
    types = "f32[16,1024,2240,2240]"
    numbers = ("1,234 ms", "1.2e-07", "15,470,264,320")
    rows = tuple((name, f"{name} {name}", types, *numbers) for name in names)
    columns = ("name", "nodes", "type", "largest time of all", "b", "c")
    lines = text(Table("t", columns, rows, words=3)).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    firsts = [line for line in lines if numbers[-1] in line]
    assert all(number in line for line in firsts for number in numbers)
    assert [line.split()[0][-2:] for line in firsts] == [name[-2:] for name in names]
    assert all(".." in line.split()[0] for line in firsts)
    assert all(part in "\n".join(lines) for part in ("f32[16,", "1024,", "2240,", "2240]"))
    assert all(line.isascii() for line in lines)


def test_attributes_continue_on_the_next_line():
    row = ("pool", "max_pool2d(kernel_size=2, stride=2)", "f32[1,64,112,112]", "1" * 38)
    printed = text(Table("t", ("node", "operator", "output", "number"), (row,), words=3))
    words = printed.split()
    assert all(part in words for part in ("max_pool2d(", "kernel_size=2,", "stride=2)"))
    assert all(len(line) <= WIDTH for line in printed.splitlines())


def test_names_that_would_look_alike_are_not_elided():
    names = [f"a_network.a_stack{i}.of_layers{i}.a_convolution" for i in range(3)]
    rows = tuple((name, "x" * 8, f"{10**50}") for name in (*names, "a.single_long_convolution.b"))
    table = Table("title", ("node", "op", "count"), rows, words=2)
    first = [line.split("x" * 8)[0].strip() for line in text(table).splitlines()[3:]]
    assert sum(".." in part for part in first) == 1
    assert all(name in "".join(first) for name in names)
    assert {part[-1] for part in first if part in names[0]} <= {".", "_", "n"}


def test_a_name_is_whole_where_there_is_room():
    name = "encoder.layer1.blocks.0.convolution_1"
    assert name in text(Table("t", ("node", "because"), ((name, "word " * 40),), words=2))


def test_notes_follow_the_table_and_text_needs_no_columns():
    note = "word " * 20
    table = Table("title", ("name", "number"), (("x", "1"),), notes=(note, "end"))
    assert text(table).splitlines() == [
        *("title", "name  number", "-------------", "x          1", ""),
        *paragraph(note).splitlines(),
        "end",
    ]
    assert text(Table("title")) == "title"
    assert text(Table("title", notes=("note",))) == "title\n\nnote"


def test_a_paragraph_keeps_long_words():
    path = "/".join(["folder"] * 20)
    lines = paragraph(f"{'word ' * 30}{path}").splitlines()
    assert lines[-1] == path
    assert all(len(line) <= WIDTH for line in lines[:-1])
