"""A configuration as text, from which jsonargparse reads what it was; in UTF-8, whatever the system's encoding is."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from jsonargparse import Namespace
from jsonargparse.typing import Path_fr
from lightning.pytorch.cli import LightningArgumentParser

from dla.files import read_text


class Parser(LightningArgumentParser):
    """Reads configurations in UTF-8; jsonargparse takes them to be in the system's encoding, on Windows another."""

    def parse_path(self, path: Any, *args: Any, **options: Any) -> Namespace:
        """What a file says, relative to its folder.

        Raises:
            ValueError: it is not UTF-8.
        """
        # Standard input and URLs are jsonargparse's, and what is alike in every encoding.
        if not Path(path).is_file() or Path(path).read_bytes().isascii():
            return super().parse_path(path, *args, **options)
        content = read_text(path)
        with Path_fr(path).relative_path_context():
            return self.parse_string(content, Path(path).name, *args, **options)


class _Dumper(yaml.SafeDumper):
    pass


def config_text(config: Any) -> str:
    """YAML in which a text that could be a number is quoted: jsonargparse takes more for one, such as a class 1e3."""
    return str(yaml.dump(config, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))


def _text(dumper: _Dumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _is_number(text) else None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_Dumper.add_representer(str, _text)
