"""Other libraries' checkpoints, built from descriptions of keys and shapes, and their networks in plain functions.

The classifiers' shapes and maps are timm's; all else is written out here and shares nothing with the library.
"""

import math

import timm
import torch
import torch.nn.functional as F

NETWORKS = ("dla34", "dla46_c", "dla46x_c", "dla60x_c", "dla60", "dla60x", "dla102", "dla102x", "dla102x2", "dla169")
COMPACT, WIDE = (16, 32, 64, 64, 128, 256), (16, 32, 128, 256, 512, 1024)
CHANNELS = {name: COMPACT if name.endswith("_c") else WIDE for name in NETWORKS} | {
    "dla34": (16, 32, 64, 128, 256, 512)
}
STEMS = {"pre_img_layer": 3, "pre_hm_layer": 1}
# Trees whose projection nothing reads.
DEAD = {
    "dla34": "level3 level4",
    "dla46_c": "level4",
    "dla46x_c": "level4",
    "dla60x_c": "level4 level4.tree1",
    "dla60": "level3 level4 level4.tree1",
    "dla60x": "level3 level4 level4.tree1",
    "dla102": "level3 level3.tree1 level4 level4.tree1 level4.tree1.tree1",
    "dla102x": "level3 level3.tree1 level4 level4.tree1 level4.tree1.tree1",
    "dla102x2": "level3 level3.tree1 level4 level4.tree1 level4.tree1.tree1",
    "dla169": "level2 level3 level3.tree1 level4 level4.tree1 level4.tree1.tree1 level4.tree1.tree1.tree1",
}


def timm_shapes(name, **options):
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in timm.create_model(name, **options).state_dict().items()}


def norm(channels):
    sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return sizes | {"num_batches_tracked": ()}


def under(prefix, shapes):
    return {f"{prefix}.{key}": shape for key, shape in shapes.items()}


def dead_shapes(name):
    shapes = {}
    for tree in DEAD[name].split():
        level = int(tree[5])
        out, into = CHANNELS[name][level], CHANNELS[name][level - 1]
        shapes |= {f"{tree}.project.0.weight": (out, into, 1, 1), **under(f"{tree}.project.1", norm(out))}
    return shapes


def concat_up(channels):
    """`dla_up` of the authors: nodes that concatenate, projections where channels differ."""
    shapes = {}
    for i in range(len(channels) - 1):
        out, into = channels[-i - 2], channels[-i - 1]
        for k in range(1, i + 2):
            ida = f"dla_up.ida_{i}"
            if into != out:
                shapes |= {f"{ida}.proj_{k}.0.weight": (out, into, 1, 1), **under(f"{ida}.proj_{k}.1", norm(out))}
            shapes[f"{ida}.up_{k}.weight"] = (out, 1, 4, 4)
            shapes |= {f"{ida}.node_{k}.0.weight": (out, 2 * out, 3, 3), **under(f"{ida}.node_{k}.1", norm(out))}
    return shapes


def conv_layer(into, out, deformable):
    shapes = {"conv.weight": (out, into, 3, 3), **under("actf.0", norm(out))}
    if deformable:
        offsets = {"conv_offset_mask.weight": (27, into, 3, 3), "conv_offset_mask.bias": (27,)}
        shapes |= {"conv.bias": (out,), **under("conv", offsets)}
    return shapes


def sum_up(channels, deformable):
    """`dla_up` and `ida_up` of CenterNet: nodes that add, projections everywhere."""
    shapes = {}
    lines = [(f"dla_up.ida_{i}", channels[-i - 2], [channels[-i - 1]] * (i + 1), [2] * (i + 1)) for i in range(3)]
    for ida, out, inputs, factors in [*lines, ("ida_up", channels[0], channels[1:3], [2, 4])]:
        for k, (into, factor) in enumerate(zip(inputs, factors, strict=True), start=1):
            shapes |= under(f"{ida}.proj_{k}", conv_layer(into, out, deformable))
            shapes[f"{ida}.up_{k}.weight"] = (out, 1, 2 * factor, 2 * factor)
            shapes |= under(f"{ida}.node_{k}", conv_layer(out, out, deformable))
    return shapes


def head_shapes(heads, into):
    shapes = {}
    for name, out in heads.items():
        shapes |= {f"{name}.0.weight": (256, into, 3, 3), f"{name}.0.bias": (256,)}
        shapes |= {f"{name}.2.weight": (out, 256, 1, 1), f"{name}.2.bias": (out,)}
    return shapes


def values(shapes, seed=0, dtype=torch.float32):
    """Random weights of moderate size, and random batch-norm statistics."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif len(shape) == 1:
            low, high = (0.5, 2) if key.endswith("running_var") else (-1, 1)
            state[key] = torch.empty(shape, dtype=dtype).uniform_(low, high, generator=generator)
        else:
            state[key] = torch.empty(shape, dtype=dtype).uniform_(-1, 1, generator=generator)
            state[key] *= math.sqrt(6 / math.prod(shape[1:]))
    return state


def bilinear_weight(channels, factor):
    """The authors' bilinear filling, pixel by pixel."""
    ramp = [1 - abs(i / factor - (2 * factor - 1 - factor % 2) / (2 * factor)) for i in range(2 * factor)]
    return torch.tensor([[[[a * b for b in ramp] for a in ramp]]] * channels)


def base_maps(name, state, x):
    """Maps at strides 2 to 32 of the classifier under `base`, by timm's; CenterTrack's if there are more channels."""
    network = timm.create_model(name, features_only=True).to(x).eval()
    network.load_state_dict({key: state[f"base.{key}"] for key in network.state_dict()})
    further = [layer for layer in STEMS if f"base.{layer}.0.weight" in state]
    image, *images = x.split([3, *(STEMS[layer] for layer in further)], 1)
    stems = [f"base.{layer}" for layer in further]
    maps = [conv_bn_relu(x, state, f"{stem}.0", f"{stem}.1", 3) for stem, x in zip(stems, images, strict=True)]
    network.base_layer.register_forward_hook(lambda _, __, out: sum(maps, out))
    return network(image)


def stem_shapes(layers):
    """CenterTrack's, of the image before and of the heatmap."""
    shapes = {}
    for layer in layers:
        shapes |= {f"{layer}.0.weight": (16, STEMS[layer], 7, 7), **under(f"{layer}.1", norm(16))}
    return shapes


def conv_bn_relu(x, state, conv, bn, padding):
    x = F.conv2d(x, state[f"{conv}.weight"], state.get(f"{conv}.bias"), padding=padding)
    return bn_relu(x, state, bn)


def bn_relu(x, state, bn):
    stats = [state[f"{bn}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    return F.relu(F.batch_norm(x, *stats))


def upsampled(x, weight):
    factor = weight.shape[-1] // 2
    return F.conv_transpose2d(x, weight, stride=factor, padding=factor // 2, groups=x.shape[1])


def concat_ida(layers, state, ida):
    fused = [layers[0]]
    for k, x in enumerate(layers[1:], start=1):
        if f"{ida}.proj_{k}.0.weight" in state:
            x = conv_bn_relu(x, state, f"{ida}.proj_{k}.0", f"{ida}.proj_{k}.1", 0)
        x = torch.cat([fused[-1], upsampled(x, state[f"{ida}.up_{k}.weight"])], 1)
        fused.append(conv_bn_relu(x, state, f"{ida}.node_{k}.0", f"{ida}.node_{k}.1", 1))
    return fused


def sum_ida(layers, state, ida):
    fused = [layers[0]]
    for k, x in enumerate(layers[1:], start=1):
        x = upsampled(layer(x, state, f"{ida}.proj_{k}"), state[f"{ida}.up_{k}.weight"])
        fused.append(layer(x + fused[-1], state, f"{ida}.node_{k}"))
    return fused


def lines(maps, state, ida):
    """Every line fuses its own map with all that the line above made; the ends of the lines, finest first."""
    fused, ends = [maps[-1]], [maps[-1]]
    for i, fine in enumerate(maps[-2::-1]):
        fused = ida([fine, *fused], state, f"dla_up.ida_{i}")
        ends.insert(0, fused[-1])
    return ends


def head(x, state, name):
    x = F.relu(F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=1))
    return F.conv2d(x, state[f"{name}.2.weight"], state[f"{name}.2.bias"])


def centernet(state, x, heads, ida, trunk="dla34"):
    """The heads' maps, from weights under CenterNet's own names."""
    ends = lines(base_maps(trunk, state, x)[1:], state, ida)
    fused = ends[0] if ida is concat_ida else ida(ends[:3], state, "ida_up")[-1]
    return {name: head(fused, state, name) for name in heads}


def layer(x, state, name):
    """3x3 convolution, deformable where there are offsets, batch norm, ReLU."""
    if f"{name}.conv.conv_offset_mask.weight" not in state:
        return conv_bn_relu(x, state, f"{name}.conv", f"{name}.actf.0", 1)
    offsets = state[f"{name}.conv.conv_offset_mask.weight"], state[f"{name}.conv.conv_offset_mask.bias"]
    down, right, weights = F.conv2d(x, *offsets, padding=1).chunk(3, dim=1)
    moves = torch.cat([down, right], 1)
    x = deformable(x, moves, weights.sigmoid(), state[f"{name}.conv.weight"], state[f"{name}.conv.bias"])
    return bn_relu(x, state, f"{name}.actf.0")


def deformable(x, moves, weights, kernel, bias):
    """Modulated deformable convolution, sample by sample: `moves` are (down, right) for each of the nine taps."""
    height, width = x.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    out = bias[:, None, None]
    for tap in range(9):
        i, j = divmod(tap, 3)
        row, column = rows + i - 1 + moves[:, 2 * tap], columns + j - 1 + moves[:, 2 * tap + 1]
        sampled = between_pixels(x, row, column) * weights[:, tap : tap + 1]
        out = out + torch.einsum("oc,bchw->bohw", kernel[:, :, i, j], sampled)
    return out


def between_pixels(x, row, column):
    """`x` (b, c, h, w) at fractional places (b, h, w), zero outside."""
    height, width = x.shape[-2:]
    top, left = row.floor(), column.floor()
    result = 0
    for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - (row - r).abs()) * (1 - (column - c).abs())
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        index = (r.clamp(0, height - 1) * width + c.clamp(0, width - 1)).long()
        pixels = x.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)
        result = result + pixels * (share * inside)[:, None]
    return result
