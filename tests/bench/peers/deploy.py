"""The same work as the other contenders, for pyinfra: three files, and a restart where one of them changed."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files, server

puts = [
    files.put(src=StringIO(content), dest=f"{host.data.root}{path}", mode="644")
    for path, content in host.data.files.items()
]
server.shell(
    commands="systemctl daemon-reload && systemctl restart kubelet.service",
    _if=lambda: any(put.did_change() for put in puts),
)
