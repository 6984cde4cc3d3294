"""Mutated text: a graph that prints and parses back, or an error of ours; then passes and plans."""

import random
import re

from graphcnn.errors import GraphCNNError
from graphcnn.frontend.from_text import parse
from graphcnn.ir import CompileLog
from graphcnn.passes import default_pipeline, run_passes
from graphcnn.targets import resolve
from tests.fuzz.drawing import drawn

PIECES = (
    *"(){}[],:=#-.'\"\n 019eE_",
    "fused",
    "return",
    "param ",
    "1e999",
    "-1",
    "True",
    "None",
    "()",
    "(1, 1, 1, 1)",
    "99999999999999999999",
    "9" * 5000,
    "(" * 300,
    "f16",
    "i32",
    "conv2d",
    "reshape(x, shape=(-1,))",
    "\x00",
    "٣",
    "ß",
    "\u2028",
    "\r",
    "{'a': 1}",
    "1j",
    "b''",
    "nan",
    "value=",
    "padding=",
    "name=",
    "op=",
    "first",
    "conv2d.weight",
)


def check(seed: int) -> str:
    """Mutate the text of a random graph, and read it."""
    choice = random.Random(seed)
    graph = drawn(seed)
    target = resolve("triton", "cpu")
    passes = default_pipeline(target.supports)
    if choice.random() < 0.4:
        graph = run_passes(graph, passes, CompileLog())
    try:
        read = parse(mutated(str(graph), choice))
        assert parse(str(read)) == read
        made = run_passes(read, passes, CompileLog())
        target.lower(made)
    except GraphCNNError as error:
        return type(error).__name__ if error.remedy else f"no remedy: {error}"
    return "the same graph" if read == graph else "another graph"


def mutated(text: str, choice: random.Random) -> str:
    """A text with one to four pieces replaced, removed, exchanged or doubled."""
    for _ in range(choice.choice((1, 1, 1, 2, 4))):
        start = choice.randint(0, len(text))
        end = min(len(text), start + choice.randint(0, 12))
        kind = choice.randint(0, 7)
        if kind == 0:
            text = text[:start] + choice.choice(PIECES) + text[end:]
        elif kind == 1:
            text = text[:start] + text[end:]
        elif kind == 2:
            lines = text.split("\n")
            first, second = (choice.randrange(len(lines)) for _ in range(2))
            lines[first], lines[second] = lines[second], lines[first]
            text = "\n".join(lines)
        elif kind == 3:
            text = text[:start] + text[start:end] * 2 + text[end:]
        else:
            text = _other_word(text, choice)
    return text


def _other_word(text: str, choice: random.Random) -> str:
    """A text in which one word or number stands in the place of another, or a small number."""
    words = re.split(r"(\W+)", text)
    numbers = [index for index, word in enumerate(words) if word.isdigit()]
    if numbers and choice.random() < 0.6:
        words[choice.choice(numbers)] = str(choice.randint(0, 3))
    else:
        words[choice.randrange(0, len(words), 2)] = choice.choice(words[::2])
    return "".join(words)
