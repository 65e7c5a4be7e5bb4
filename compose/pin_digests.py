"""Pin the official images by digest: `python3 compose/pin_digests.py`.

It needs Docker with buildx, a way to the registries, and Python 3.9 or later. It asks the registry
for the digest of each tag in docker-compose.yml and compose/Dockerfile, prints it, and writes
`name:tag@sha256:...` into both files. The digest is that of the index of all platforms. An image
that has a digest keeps it. Images that are built here have none.

When the registry does not know a tag, nothing is written and the exit code is 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
FILES = ("docker-compose.yml", "compose/Dockerfile")
# `image: name:tag` or `FROM name:tag`, without a digest, and not an anchor.
_IMAGE = re.compile(r"^(?P<key>\s*image: |FROM )(?P<image>[a-z][\w./-]*:[\w.-]+)(?=\s|$)", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main() -> int:
    """Pin both files, or write nothing and name the images that were not found."""
    texts = {REPO / name: (REPO / name).read_text() for name in FILES}
    images = sorted(set().union(*(open_images(text) for text in texts.values())))
    digests, problems = resolve(images, registry_digest)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        return 1
    for path, text in texts.items():
        path.write_text(pinned(text, digests))
    for image, digest in digests.items():
        sys.stdout.write(f"{image}@{digest}\n")
    return 0


def open_images(text: str) -> set[str]:
    """Return the images of a file that have a tag and no digest, without those that we build."""
    return {found["image"] for found in _IMAGE.finditer(text) if not found["image"].startswith("tickhouse")}


def pinned(text: str, digests: dict[str, str]) -> str:
    """Return the text with the digest of each image behind its tag."""

    def with_digest(found: re.Match[str]) -> str:
        digest = digests.get(found["image"])
        return f"{found['key']}{found['image']}@{digest}" if digest else found[0]

    return _IMAGE.sub(with_digest, text)


def resolve(images: list[str], ask: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """Return the digest of each image, and a line for each that has none."""
    digests: dict[str, str] = {}
    problems: list[str] = []
    for image in images:
        try:
            digests[image] = ask(image)
        except (LookupError, OSError) as error:
            problems.append(f"{image}: {error}")
    return digests, problems


def registry_digest(image: str) -> str:
    """Return the digest that the registry has for a tag.

    Raises:
        LookupError: The registry does not know it, or its answer has no digest.
        OSError: There is no program `docker`.
    """
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    digest = answer.stdout.strip()
    if answer.returncode or not _DIGEST.fullmatch(digest):
        raise LookupError(answer.stderr.strip() or f"expected a digest, was {digest!r}")
    return digest


if __name__ == "__main__":
    raise SystemExit(main())
