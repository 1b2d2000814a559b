"""Where a component serves on its own node. Pure."""

from __future__ import annotations

from contextlib import suppress

from kubeharden.components.effective import effective_config
from kubeharden.components.flags import split_flags
from kubeharden.errors import KubehardenError
from kubeharden.facts.model import ServiceFacts
from kubeharden.releases import OwnPort, release_table

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - what a component listens at
_LAST_PORT = 65535


def own_address(service: ServiceFacts, port: OwnPort) -> tuple[str, int]:
    """Return the address and the port at which a service is asked on its own node.

    Args:
        service: as its process was started; where that cannot be read, its defaults count.
        port: of its component.
    """
    values = dict(zip(port.address, port.otherwise, strict=True))
    with suppress(KubehardenError):  # a run says of such a service, elsewhere, that it cannot be read
        argv, table = service.running_argv, release_table(service.name, service.release)
        config = effective_config(table, split_flags(argv[1:], table), service.config(argv)[1])
        values |= {field: str(config[field]) for field in port.address if config.get(field)}
    address, number = (values[field] for field in port.address)
    known = int(number) if number.isdecimal() and 0 < int(number) <= _LAST_PORT else int(port.otherwise[1])
    return (LOOPBACK if address in EVERY_ADDRESS else address), known
