"""Try the smallest network of each family of torchvision and timm as `model=pretrained`, with random weights.

Each network is trained for two steps at the image size of its weights, alone with its head frozen and unfrozen, loads
a file of weights of its library, computes the features of the feature bank and Grad-CAM, and is restored from its
hyperparameters and state dict. The table lists the result of each family. Each network has its own process, so that a
crash of a library or a network that takes too long ends only its own row.

    python scripts/backbones.py                        # all families
    python scripts/backbones.py levit vit_small_patch14_dinov2   # families or networks
"""

import argparse
import contextlib
import io
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from timm.models import list_modules

from cnn_classifier.errors import single_line
from cnn_classifier.inference.grad_cam import grad_cam
from cnn_classifier.models.backbones import create_backbone, create_without_values, native_size
from cnn_classifier.models.feature_bank import forward_with_features
from cnn_classifier.models.pretrained import Pretrained
from cnn_classifier.models.validation import PRETRAINED_TARGET
from cnn_classifier.training.module import ImageClassifier

NUM_CLASSES, BATCH_SIZE = 3, 2


def list_families() -> dict[str, list[str]]:
    """Return the names of the networks of each family: the modules of timm, and names of torchvision up to a digit."""
    families: dict[str, list[str]] = {}
    for name in torchvision.models.list_models(torchvision.models):
        stem = re.split(r"\d|_", name)[0]
        families.setdefault(f"torchvision {stem}", []).append(name)
    for module in list_modules():
        if names := timm.list_models(module=module):
            families[f"timm {module}"] = names
    return families


def count_parameters(name: str) -> int:
    """Return the number of parameters of a network, which is built without values."""
    return sum(parameter.numel() for parameter in create_without_values(name).parameters())


def find_smallest(names: Iterable[str]) -> tuple[str, int]:
    """Return the network with the fewest parameters and their number; the network of the smallest images if equal."""
    sizes = []
    for name in names:
        with contextlib.suppress(Exception):  # a builder that requires another package
            sizes.append((count_parameters(name), native_size(name), name))
    if not sizes:
        return next(iter(names)), 0
    count, _, name = min(sizes)
    return name, count


def try_network(name: str) -> Iterator[str]:
    """Run all steps with a network, and yield the name of each step before it starts."""
    yield "build"
    size = native_size(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(create_backbone(name).state_dict(), path)
        model = {"_target_": PRETRAINED_TARGET, "backbone": name, "weights": str(path)}
        classifier = ImageClassifier(model, num_classes=NUM_CLASSES, image_size=size)
        network = classifier.network
        assert isinstance(network, Pretrained)
        yield "weights"
        network.load_weights()
    images = torch.rand(BATCH_SIZE, 3, size, size)
    yield "train"
    network.freeze, optimizer = 0.5, torch.optim.SGD(classifier.parameters(), lr=1e-3)
    for progress in (0.0, 1.0):
        network.set_progress(progress)
        classifier.train()
        loss = torch.nn.functional.cross_entropy(classifier(images), torch.arange(BATCH_SIZE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress == 0:
            frozen = {parameter_name for parameter_name, p in network.named_parameters() if p.grad is None}
            assert frozen, "the backbone is not frozen"
            assert not any(item.startswith(f"backbone.{head}.") for item in frozen for head in network.head_names), (
                "a head is frozen"
            )
    yield "features"
    classifier.eval()
    with torch.no_grad():
        logits, features = forward_with_features(classifier, images)
    assert logits.shape == (BATCH_SIZE, NUM_CLASSES), f"logits have shape {tuple(logits.shape)}"
    yield "restore"
    restored = ImageClassifier(**classifier.hparams).eval()
    restored.load_state_dict(classifier.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(restored(images), logits)  # NaN is unequal to itself
    yield "Grad-CAM"
    pixels = np.zeros((1, size, size, 3), np.uint8)
    heatmaps = grad_cam(classifier, pixels, [0])[0]
    missing = [
        label for label, is_there in (("features", features is not None), ("Grad-CAM", heatmaps)) if not is_there
    ]
    yield f"ok, without {' and '.join(missing)}" if missing else "ok"


def report_network(name: str) -> str:
    """Return `ok`, or the step that fails and its error."""
    step = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for started in try_network(name):
                step = started
    except Exception as error:  # of any kind: this script looks for them
        return f"{step}: {type(error).__name__}: {single_line(error)[:150]}"
    return step


def report_family(family: str, names: Sequence[str], max_params: float) -> str:
    """Try the smallest network of a family, unless it has more than `max_params` million parameters; return the row."""
    start_time, (name, count) = time.perf_counter(), find_smallest(names)
    result = "skipped" if count > max_params * 1e6 else report_network(name)
    seconds = time.perf_counter() - start_time
    row = (family, name, f"{count / 1e6:.1f}", native_size(name), f"{seconds:.1f}", result)
    return f"| {' | '.join(map(str, row))} |"


def run_process(family: str, max_params: float, limit: float) -> str:
    """Return the row of a family, which another process computes in at most `limit` seconds."""
    command = [sys.executable, __file__, "--family", family, "--max-params", str(max_params)]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"| {family} | | | | {limit:.0f} | no result in {limit:.0f} s |"
    lines = [line for line in finished.stdout.splitlines() if line.startswith(f"| {family} |")]
    last_words = finished.stderr.strip().rpartition("\n")[2][:150]
    return lines[-1] if lines else f"| {family} | | | | | exit status {finished.returncode}: {last_words} |"


def select_families(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the families of these names, networks as families of their own, or all families."""
    families = list_families()
    if not names:
        return families
    selected = {key: members for key, members in families.items() if key in names or key.split()[1] in names}
    known = {member for members in families.values() for member in members}
    return selected | {f"network {name}": [name] for name in names if name in known}


def main() -> None:
    """Print a row for each family, then the number of families that passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="families or networks; all families by default")
    parser.add_argument("--max-params", type=float, default=60, help="larger networks are skipped, in millions")
    parser.add_argument("--limit", type=float, default=120, help="the time for a family, in seconds")
    parser.add_argument("--family", help=argparse.SUPPRESS)  # compute this row in this process
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if args.family:
        families = select_families([args.family.removeprefix("network ")])
        print(report_family(args.family, families[args.family], args.max_params))
        return
    print("| Family | Network | Parameters (M) | Size (px) | Seconds | Result |\n| --- | --- | --- | --- | --- | --- |")
    rows = []
    for family in select_families(args.names):
        rows.append(run_process(family, args.max_params, args.limit))
        print(rows[-1], flush=True)
    counts = Counter(row.split("|")[-2].split(",")[0].strip() for row in rows)
    print(f"\n{counts['ok']} of {len(rows)} passed, {counts['skipped']} skipped")


if __name__ == "__main__":
    main()
