"""Files of ncnn: any batch, one size."""

import pytest
import torch
from disturbed import disturb

import dla
from dla.deploy import DeployError, ncnn
from dla.deploy.outputs import difference
from dla.export import export

pytestmark = pytest.mark.usefixtures("unchecked_shapes")


@torch.no_grad()
def test_ncnn_takes_any_batch_of_one_size(tmp_path):
    model = disturb(dla.create_model("dla46_cida", num_classes=3))
    export(model, tmp_path / "model.ncnn.param", format="ncnn", shape=(1, 3, 33, 47))
    x = torch.randn(3, 3, 33, 47)
    assert difference([model(x)], ncnn.load(tmp_path / "model.ncnn.param", threads=1)(x)) < 1e-4
    with pytest.raises(DeployError, match="one image size, and crash at others: leave out --dynamic"):
        export(model, tmp_path / "other.ncnn.param", format="ncnn", shape=(1, 3, 33, 47), dynamic=True)
    assert {path.name for path in tmp_path.iterdir()} == {"model.ncnn.param", "model.ncnn.bin"}
