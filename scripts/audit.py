"""Check all locked releases for known vulnerabilities with pip-audit: `make audit`."""

import subprocess
import sys
from pathlib import Path

LOCKS = (Path("requirements.lock"), Path("deploy", "requirements.lock"), Path("deploy", "build.lock"))
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "Max retries exceeded", "Could not find a version", "ServiceError")


def main() -> int:
    """Run pip-audit on all lock files.

    Returns:
        The exit code of pip-audit, 1 if a release has a known vulnerability; 0 if the advisory database is unreachable.
    """
    install = [sys.executable, "-m", "pip", "install", "--quiet", "pip-audit"]
    audit = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--timeout", "20"]
    for lock in LOCKS:
        audit += ["--requirement", str(lock)]
    for command in (install, audit):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode and any(message in result.stderr for message in UNREACHABLE):
            print("Not audited: the advisory database is unreachable.")
            return 0
        print(result.stdout, end="")
        if result.returncode:
            print(result.stderr, file=sys.stderr)
            return result.returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
