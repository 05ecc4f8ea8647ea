"""ONNX files, run by ONNX Runtime: on the CPU, or by TensorRT where it is there."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dla.deploy.errors import DeployError, brief
from dla.deploy.outputs import Metadata, Run, names
from dla.deploy.sampled import places, sampled

INPUT = "images"
TENSORRT = "TensorrtExecutionProvider"


def write(model: nn.Module, example: Tensor, path: Path, *, dynamic: bool, metadata: Metadata) -> None:
    """Write one file, weights and metadata within.

    Raises:
        DeployError: ONNX has no operation for something in the network, or an output has the input's name.
    """
    model = sampled(model)
    axes = {0: "batch", 2: "height", 3: "width"} if dynamic else None
    with torch.inference_mode(), warnings.catch_warnings():
        answer = model(example)
        warnings.simplefilter("ignore", DeprecationWarning)  # of what the exporter itself calls
        warnings.simplefilter("ignore", FutureWarning)
        try:
            program = torch.onnx.export(
                model,
                (example,),
                input_names=[INPUT],
                output_names=_output_names(answer),
                dynamic_shapes=(axes,),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            said = brief(error, behind="## Exception summary")
            raise DeployError(f"the network cannot be exported to ONNX: {said}") from error
    assert program is not None  # None comes from the older exporter alone
    _rename_within(program.model.graph)
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


def _rename_within(graph: Any) -> None:
    """The exporter calls values after operations and weights, such as relu, which may be an output's name, too."""
    outputs = {value.name: value for value in graph.outputs}
    for value in [*graph.initializers.values(), *(value for node in graph for value in node.outputs)]:
        if value is not outputs.get(value.name, value):
            value.name = f"{value.name}_within"


def _output_names(answer: Any) -> list[str]:
    found = names(answer)
    if INPUT in found:  # of two values of one name, a file would have but one
        raise DeployError(f"an output is named {INPUT}, as the input is: rename it")
    return found


def check_provider(provider: str) -> None:
    """Refuse what this installation of ONNX Runtime cannot run on.

    Raises:
        DeployError: the provider is missing.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise DeployError(
            f"onnxruntime has no {provider} here, only {', '.join(available)}: for TensorRT, install onnxruntime-gpu "
            "in place of onnxruntime, and TensorRT, on a machine with an NVIDIA GPU"
        )


def load(path: Path, *, threads: int | None = None, provider: str = "CPUExecutionProvider") -> Run:
    """A session of ONNX Runtime.

    Raises:
        DeployError: this installation of ONNX Runtime lacks the provider.
    """
    import onnxruntime

    check_provider(provider)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])

    def run(images: Tensor) -> list[Tensor]:
        outputs = session.run(None, {INPUT: images.contiguous().numpy(force=True)})
        return [torch.from_numpy(value) for value in outputs]

    return run


def quantize(path: Path, calibration: Iterable[Tensor], output: Path) -> None:
    """Write the network of one file to another, convolutions in 8 bits; ranges are those seen on `calibration`.

    Weights have a scale per channel and 7 bits, since of 8 the sums overflow on processors without VNNI instructions;
    activations have one scale per tensor.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, images: Iterator[Tensor]) -> None:
            self.images = images

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: image.numpy(force=True)}

    ready = output.with_name(f"ready-{output.name}")
    quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(output),
        Reader(iter(calibration)),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
        op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "Concat", "MaxPool"],
        nodes_to_exclude=_places(ready),
    )
    ready.unlink()


def _places(path: Path) -> list[str]:
    """Names of the nodes that compute where maps are sampled."""
    import onnx

    nodes = onnx.load(path).graph.node
    values = places({value: (node.op_type, node.input) for node in nodes for value in node.output})
    return [node.name for node in nodes if not values.isdisjoint(node.output)]
