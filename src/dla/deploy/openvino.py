"""OpenVINO files: NAME.xml, the graph, with NAME.bin, the weights, beside it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from dla.deploy import onnx
from dla.deploy.errors import DeployError, brief
from dla.deploy.outputs import Metadata, Run
from dla.deploy.sampled import places

SECTION = "dla"  # of the runtime information in the file
SMALLEST = 32  # side of the images in a dynamic file, in pixels; classifiers alone would take 17


def write(model: nn.Module, example: Tensor, path: Path, *, dynamic: bool, metadata: Metadata) -> None:
    """Write graph and weights, by way of ONNX; weights stay float32.

    Raises:
        DeployError: OpenVINO has no operation for something in the network.
    """
    import openvino
    from openvino.frontend import OpConversionFailure

    with TemporaryDirectory() as folder:
        between = Path(folder) / "model.onnx"
        onnx.write(model, example, between, dynamic=dynamic, metadata={})
        try:
            network = openvino.convert_model(between)
        except OpConversionFailure as error:
            said = brief(error, behind="Summary:")
            raise DeployError(f"OpenVINO cannot take the network ({said}): use ONNX{_or(example, said)}") from error
    if dynamic:
        _bound(network)
    for key, value in metadata.items():
        network.set_rt_info(value, [SECTION, key])
    openvino.save_model(network, path, compress_to_fp16=False)


def _or(example: Tensor, said: str) -> str:
    """What else helps."""
    if "DeformConv" in said:
        return ", or torchvision's module DeformConv2d itself and without hooks, of which others are made"
    helps = min(example.shape[-2:]) < SMALLEST and "No conversion rule" not in said
    return f", or images of at least {SMALLEST} pixels on each side" if helps else ""


def _bound(network: Any) -> None:
    """Have smaller images refused: for them OpenVINO 2026.4 gives the result of the call before, or none."""
    from openvino import Dimension

    shape = network.inputs[0].get_partial_shape()
    shape[2] = shape[3] = Dimension(SMALLEST, -1)
    network.reshape(shape)


def _core() -> Any:
    """OpenVINO, which by itself keeps the file of weights open: on Windows it could be neither moved nor removed."""
    import openvino

    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})
    return core


def load(path: Path, *, threads: int | None = None) -> Run:
    """A request that answers one batch at a time as soon as it can."""
    core = _core()
    # Without the hint, processors with instructions for bfloat16 compute in it, to two or three digits.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    free = Lock()  # a request is busy while it answers, and several at once would share the same cores

    def run(images: Tensor) -> list[Tensor]:
        with free:
            results = request.infer([images.contiguous().numpy(force=True)], share_inputs=True)
        return [torch.from_numpy(value) for value in results.values()]

    return run


def _places(network: Any) -> list[str]:
    """Names of the operations that compute where maps are sampled."""
    graph = {}
    for node in network.get_ordered_ops():
        reads = [value.get_node().get_friendly_name() for value in node.input_values()]
        graph[node.get_friendly_name()] = node.get_type_name(), reads
    return sorted(name for name in places(graph) if graph[name][0] != "Constant")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without nncf's lists of the operations that are left as they are, hundreds of lines."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def quantize(path: Path, calibration: Iterable[Tensor], output: Path) -> None:
    """Write the network of one file to another, convolutions in 8 bits, by nncf; ranges are seen on `calibration`."""
    import nncf
    import openvino

    count = sum(1 for _ in calibration)  # and what is wrong with them is said before nncf begins
    images = nncf.Dataset(calibration, lambda image: image.numpy(force=True))
    network = _core().read_model(path)
    kept = network.get_rt_info(SECTION) if network.has_rt_info(SECTION) else None
    left = nncf.IgnoredScope(names=_places(network))
    with _quiet():
        quantized = nncf.quantize(
            network, images, subset_size=count, preset=nncf.QuantizationPreset.MIXED, ignored_scope=left
        )
    if kept is not None:
        quantized.set_rt_info(kept, SECTION)
    openvino.save_model(quantized, output, compress_to_fp16=False)
