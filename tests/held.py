"""What memory a model holds, and how much of a mapped file is in memory."""

from pathlib import Path

from graphcnn.runtime.boundary import to_tensor


def held(model):
    """Bytes of all memory that holds a model's params, as given, after the passes and packed, but
    for the bands around what is packed."""
    arrays = [param.data for graph in (model.source, model.graph) for param in graph.params]
    tensors = [*map(to_tensor, arrays), *model._weights.tensors.values()]
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def resident(path):
    """Bytes of the mappings of a file that are in memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            inside = words[-1] == str(path)
        elif inside and words[0] == "Rss:":
            total += 1024 * int(words[1])
    return total
