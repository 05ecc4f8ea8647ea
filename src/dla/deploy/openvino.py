"""OpenVINO files: NAME.xml, the graph, with NAME.bin, the weights, beside it."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from dla.deploy import onnx
from dla.deploy.errors import DeployError
from dla.deploy.outputs import Metadata, Run

SECTION = "dla"  # of the runtime information in the file


def write(model: nn.Module, example: Tensor, path: Path, *, dynamic: bool, metadata: Metadata) -> None:
    """Write graph and weights, by way of ONNX; weights stay float32.

    Raises:
        DeployError: OpenVINO has no operation for something in the network, such as deformable convolutions.
    """
    import openvino
    from openvino.frontend import OpConversionFailure

    with TemporaryDirectory() as folder:
        between = Path(folder) / "model.onnx"
        onnx.write(model, example, between, dynamic=dynamic, metadata={})
        try:
            network = openvino.convert_model(between)
        except OpConversionFailure as error:
            raise DeployError(f"OpenVINO cannot take the network, use ONNX: {str(error).strip()[-300:]}") from error
    for key, value in metadata.items():
        network.set_rt_info(value, [SECTION, key])
    openvino.save_model(network, path, compress_to_fp16=False)


def load(path: Path, *, threads: int | None = None) -> Run:
    """A request that answers one batch at a time as soon as it can."""
    import openvino

    core = openvino.Core()
    # Without the hint, processors with instructions for bfloat16 compute in it, to two or three digits.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()

    def run(images: Tensor) -> list[Tensor]:
        results = request.infer([images.contiguous().numpy()], share_inputs=True)
        return [torch.from_numpy(value) for value in results.values()]

    return run


def quantize(path: Path, calibration: Iterable[Tensor], output: Path) -> None:
    """Write the network of one file to another, convolutions in 8 bits, by nncf; ranges are seen on `calibration`."""
    import nncf
    import openvino

    images = nncf.Dataset([image.numpy() for image in calibration])
    network = openvino.Core().read_model(path)
    kept = network.get_rt_info(SECTION) if network.has_rt_info(SECTION) else None
    quantized = nncf.quantize(network, images, subset_size=images.get_length(), preset=nncf.QuantizationPreset.MIXED)
    if kept is not None:
        quantized.set_rt_info(kept, SECTION)
    openvino.save_model(quantized, output, compress_to_fp16=False)
