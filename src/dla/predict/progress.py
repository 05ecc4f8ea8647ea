"""How far the prediction of one picture is, where the network sees it in many windows."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import Progress
from torchvision.transforms.v2.functional import get_size

from dla.bands import Picture
from dla.inference import model_runs
from dla.predict.results import Dense, Results

FEW = 4  # runs of a network for which no bar is worth it


@contextmanager
def shown(progress: Progress, name: str, writer: Results, image: Picture) -> Iterator[None]:
    """Within it, where `writer` predicts this picture, a bar advances whenever the network has run."""
    runs = _runs(writer, image)
    if runs <= FEW:
        yield
        return
    task = progress.add_task(escape(name), total=runs)
    hook = writer.predictor.model.register_forward_hook(lambda *_: progress.advance(task))
    try:
        yield
    finally:
        hook.remove()
        progress.remove_task(task)


def _runs(writer: Results, image: Picture) -> int:
    """How many times the network runs for this picture."""
    if not isinstance(writer, Dense):
        return 1
    return model_runs(*get_size(image), **writer.predictor.views(image, **writer.inference))
