"""The instructions of `deploy/Dockerfile`."""

import re
from pathlib import Path

DEPLOY_DIR = Path(__file__).parents[2] / "deploy"
# The text of each stage by its name, with continued lines joined.
STAGES = {
    stage.split("\n")[0].split()[-1]: stage
    for stage in re.split(r"^FROM ", (DEPLOY_DIR / "Dockerfile").read_text().replace("\\\n", " "), flags=re.MULTILINE)[
        1:
    ]
}


def get_instruction(stage: str, name: str) -> str:
    """Return the arguments of the last instruction with a name, such as `CMD`, in a stage."""
    instructions: list[str] = re.findall(rf"^\s*{name} (.*)$", STAGES[stage], re.MULTILINE)
    return instructions[-1]
