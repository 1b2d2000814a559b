"""The images of the nodes. None can be pulled: one static busybox is every image, the pause container's included."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

from places import LAB_RELEASE, ROOTFS

NAMES = [
    LAB_RELEASE.pause,
    "docker.io/weaveworks/weave-kube:2.8.1",
    "docker.io/weaveworks/weave-npc:2.8.1",
    "docker.io/weaveworks/scope:1.13.2",
    "docker.io/coredns/coredns:1.7.0",
    "docker.io/library/nginx:1.19",
]
PROGRAMS = ("sh", "sleep", "cat", "ls", "id", "ps", "httpd", "wget")
ENTRY = """#!/bin/sh
# Stays until it is told to go. What a pod gives as arguments is for the program that this stands for.
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
"""


def write_image(target: Path) -> None:
    """Write the archive that `docker load` and `ctr images import` both read."""
    layer = _layer()
    digest = sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/entry"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": NAMES, "Layers": [f"{digest}/layer.tar"]}]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w") as archive:
        _add(archive, name, config)
        _add(archive, f"{digest}/layer.tar", layer)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _layer() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for folder in ("bin", "etc", "home", "home/weave"):
            _add(archive, folder, kind=tarfile.DIRTYPE)
        _add(archive, "tmp", kind=tarfile.DIRTYPE, mode=0o1777)
        _add(archive, "bin/busybox", (ROOTFS / "bin/busybox").read_bytes())
        for program in PROGRAMS:
            _add(archive, f"bin/{program}", kind=tarfile.SYMTYPE, link="busybox")
        for path in ("entry", "home/weave/launch.sh"):
            _add(archive, path, ENTRY.encode())
    return content.getvalue()


def _add(
    archive: tarfile.TarFile, name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE,
    mode: int = 0o755, link: str = "",
) -> None:  # fmt: skip
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.linkname = kind, mode, len(content), link
    archive.addfile(member, io.BytesIO(content))
