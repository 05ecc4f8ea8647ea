"""What the comment at the top of a recipe or a study says."""

import re


def header(text: str) -> dict[str, str]:
    """Its lines `# KEY: VALUE`, by key."""
    top = re.match(r"(#.*\n)*", text)[0]
    return dict(re.findall(r"^# *(\w+): *(\S.*)$", top, flags=re.MULTILINE))
