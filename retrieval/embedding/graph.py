"""What an exported graph need not compute each time it runs."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def fix_shapes(path: Path) -> int:
    """Have reshapes keep the first two dimensions of a tensor, batch and tokens, as they are;
    returns how many.

    The tracer writes `x.view(batch, tokens, heads, -1)` as five nodes that look the sizes up and
    put them together, in each layer four times. For a short question such nodes are a twentieth
    of a run. A graph that this does not fit does not agree with its model any more.
    """
    model = onnx.load(path)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant"
    }
    made_by = {output: node for node in graph.node for output in node.output}
    fixed = 0
    for node in graph.node:
        sizes = made_by.get(node.input[1]) if node.op_type == "Reshape" else None
        if sizes is None or sizes.op_type != "Concat":
            continue
        shape = [_size(name, place, made_by, constants) for place, name in enumerate(sizes.input)]
        if len(shape) < 3 or shape[:2] != [0, 0] or None in shape:
            continue
        name = f"{node.name}/fixed_shape"
        graph.initializer.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), name))
        node.input[1] = name
        fixed += 1
    _drop_unused(graph)
    onnx.save(model, path)
    return fixed


def _size(
    name: str,
    place: int,
    made_by: dict[str, onnx.NodeProto],
    constants: "dict[str, np.ndarray]",
) -> int | None:
    """One entry of a shape: a number, 0 for "as it is", None if it has to be computed."""
    if name in constants:
        return int(constants[name].item())
    node = made_by.get(name)
    if node is None or node.op_type != "Unsqueeze":
        return None
    inner = node.input[0]
    if inner in constants:
        return int(constants[inner].item())
    gather = made_by.get(inner)
    if gather is None or gather.op_type != "Gather" or gather.input[1] not in constants:
        return None
    shape = made_by.get(gather.input[0])
    looks_up_this = int(constants[gather.input[1]].item()) == place < 2
    return 0 if shape is not None and shape.op_type == "Shape" and looks_up_this else None


def _drop_unused(graph: onnx.GraphProto) -> None:
    outputs = {output.name for output in graph.output}
    while True:
        used = outputs | {name for node in graph.node for name in node.input}
        unused = [node for node in graph.node if not used.intersection(node.output)]
        if not unused:
            return
        for node in unused:
            graph.node.remove(node)
