"""What turns features into answers: a classifier over the pooled last map, a classifier of every pixel."""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from dla.models.upsample import FixedUpsample

Pool = Literal["avg", "max", ""]


class ClassifierHead(nn.Module):
    """Global pooling, so that any image size gives one vector; dropout; a linear map, none for 0 classes."""

    def __init__(self, in_channels: int, num_classes: int, *, global_pool: Pool, drop_rate: float) -> None:
        super().__init__()
        pools = {"avg": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1), "": None}
        if global_pool not in pools:
            raise ValueError(f"global_pool must be 'avg', 'max' or '', not {global_pool!r}")
        if num_classes < 0:
            raise ValueError(f"num_classes must be at least 0, not {num_classes}")
        if num_classes and not global_pool:
            raise ValueError("a classifier needs pooled features: give global_pool='avg' or num_classes=0")
        pooling = pools[global_pool]
        self.global_pool = nn.Sequential(pooling, nn.Flatten(1)) if pooling else nn.Identity()
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(in_channels, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(b, c, h, w) -> (b, classes), or the pooled (b, c) where `pre_logits` is set or there are no classes."""
        x = self.drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)


def facts_for(num_classes: int, facts: dict[str, Any]) -> dict[str, Any]:
    """What is known of weights, without what is known of their classes where a new head has another number."""
    counts = {facts.get("num_classes", num_classes), len(facts.get("classes") or range(num_classes))}
    if counts == {num_classes}:
        return facts
    return {key: fact for key, fact in facts.items() if key not in ("num_classes", "classes", "colors")}


class Classifier(nn.Module):
    """What networks with a `ClassifierHead` have in common; they give the map by `forward_features`."""

    forward_features: Any
    num_classes: int
    num_features: int
    global_pool: Pool
    drop_rate: float
    head: ClassifierHead
    pretrained_cfg: dict[str, Any]

    def forward_head(self, x: Float[Tensor, "b k _ _"], pre_logits: bool = False) -> Tensor:
        """Logits (b, classes) of the map; pooled features (b, k) where `pre_logits` is set."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """Logits (b, classes) of images of any size; pooled features (b, k) where there are no classes."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """The last linear map."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: Pool | None = None) -> None:
        """Put a new, untrained head on the network; the pooling stays where None is given.

        Raises:
            ValueError: there is no such pooling, or no such number of classes; the network stays as it was.
        """
        pool = self.global_pool if global_pool is None else global_pool
        head = ClassifierHead(self.num_features, num_classes, global_pool=pool, drop_rate=self.drop_rate)
        self.num_classes, self.global_pool = num_classes, pool
        self.head = head.to(next(self.parameters())).train(self.training)
        self.pretrained_cfg = facts_for(num_classes, self.pretrained_cfg)


class DenseHead(nn.Module):
    """One score per class and pixel: a 1x1 convolution at the decoder's stride, then bilinear upsampling."""

    def __init__(self, in_channels: int, num_classes: int, stride: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"a dense predictor needs num_classes of at least 1, not {num_classes}")
        self.classify = nn.Conv2d(in_channels, num_classes, 1)
        self.upsample = FixedUpsample(stride)

    def forward(self, x: Float[Tensor, "b c _ _"], size: tuple[int, int]) -> Float[Tensor, "b k h w"]:
        """(b, c, h, w) -> logits (b, classes, *size)."""
        return self.upsample(self.classify(x), size)
