"""The bar of a picture that is seen in many windows."""

from io import StringIO
from pathlib import Path

import pytest
import torch
from image_files import random_image
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from dla.predict import load_predictor
from dla.predict.progress import FEW, shown
from dla.predict.results import results


@pytest.mark.parametrize(("window", "runs"), [(32, 2 * 3 * 3), (64, 0), (None, 0)])
def test_the_bar_advances_whenever_the_network_has_run(monkeypatch, window, runs):
    predictor, image = load_predictor("dla46_cup.camvid"), Image.fromarray(random_image(0, 70, 60))
    writer = results(predictor, Path(), scales=[1.0], flip=True, window=window, overlap=None, top=None)
    progress, done = Progress(console=Console(file=StringIO())), []
    monkeypatch.setattr(progress, "advance", done.append)
    with shown(progress, "[a].png", writer, image):
        assert [task.total for task in progress.tasks] == ([runs] if runs else [])
        predictor.segment(image, flip=True, window=window)
    assert len(done) == runs
    assert progress.tasks == []
    predictor.model(torch.zeros(1, 3, 32, 32))
    assert len(done) == runs
    assert FEW < 2 * 3 * 3
