"""The instructions of `deploy/Dockerfile`."""

import re
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
# Instructions by stage, with continued lines joined.
STAGES = {
    stage.split("\n")[0].split()[-1]: stage
    for stage in re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text().replace("\\\n", " "), flags=re.MULTILINE)[1:]
}


def instruction(stage: str, name: str) -> str:
    """What follows the last instruction of this name."""
    found: list[str] = re.findall(rf"^\s*{name} (.*)$", STAGES[stage], re.MULTILINE)
    return found[-1]
