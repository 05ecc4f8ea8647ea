"""Tar files of a few images with their classes, whole and damaged."""

import io
import tarfile
from pathlib import Path

import torch
from PIL import Image

CLASSES = ("ant", "bee", "cat")


def encoded(number: int, form: str = "PNG", size: tuple[int, int] = (25, 19)) -> bytes:
    """An image whose mean says which it is."""
    file = io.BytesIO()
    Image.new("RGB", size, (4 * number, 10, 200)).save(file, form)
    return file.getvalue()


def write(path: Path, files: dict[str, bytes]) -> Path:
    """A tar file of files by name; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def samples(first: int, count: int) -> dict[str, bytes]:
    """Image n is of class n % 3, and is called so: its files are n.png and n.cls."""
    numbers = range(first, first + count)
    return {
        f"{n}.{end}": encoded(n) if end == "png" else f"{n % 3}\n".encode() for n in numbers for end in ("png", "cls")
    }


def number(image: torch.Tensor) -> int:
    """Which of the images an item holds."""
    return round(float(image[0].float().mean()) / 4)


def damaged(kind: str, path: Path) -> None:
    """Damage a file of three samples in this way."""
    content = bytearray(path.read_bytes())
    if kind == "cut in an image":
        content = content[:700]
    if kind == "cut in a header":
        content = content[:1200]
    if kind == "cut between files":
        content = content[:2048]
    if kind == "a broken header":  # of the second sample
        content[2048:2148] = b"x" * 100
    if kind == "no tar file":
        content = bytearray(b"nothing" * 200)
    if kind == "empty":
        content = bytearray()
    path.write_bytes(content)
