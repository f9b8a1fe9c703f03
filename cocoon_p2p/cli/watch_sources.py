"""Where `cocoon channels watch` has its vouchers from: a file of lines, or a node's ledger."""

from collections.abc import Sequence
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.treasury.watched import Watched, read_lines

FILE_MAX_BYTES = 128 << 20
"More than as many lines as are read take."


class VoucherFile:
    """A file that `cocoon channels export` wrote, and may write again at any time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[int, int, int] | None = None

    def read(self) -> Sequence[Watched] | None:
        """Give its vouchers; None: it is the same as before. One that is half written is read again.

        Raises:
            ConfigurationError: It cannot be read, or something else stands in it.
        """
        try:
            stat = self._path.stat()
            stamp = stat.st_mtime_ns, stat.st_size, stat.st_ino
            if stamp == self._read:
                return None
            with self._path.open("rb") as file:
                data = file.read(FILE_MAX_BYTES + 1)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot read {self._path}: {exc.strerror}",
                hint="write it with `cocoon channels export`",
            ) from exc
        if len(data) > FILE_MAX_BYTES:
            raise ConfigurationError(f"{self._path} is too large (max={FILE_MAX_BYTES} bytes)")
        try:
            found = read_lines(data.splitlines())
        except ConfigurationError as exc:
            raise ConfigurationError(f"{self._path}, {exc}", hint=exc.hint) from exc
        self._read = stamp
        return found


class LedgerFile:
    """A node's ledger, read beside the node.

    Args:
        path: The ledger.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Sequence[Watched]:
        """Give the newest vouchers in it.

        Raises:
            ConfigurationError, Unavailable: As `overview.vouchers_in`.
        """
        from cocoon_p2p.overview import vouchers_in

        return vouchers_in(self._path)


Source = VoucherFile | LedgerFile


def network_of(vouchers: Sequence[Watched], named: int | None) -> int:
    """Say which TON network vouchers are on, by its number.

    Args:
        vouchers: Those that there are at first.
        named: The network that a person named; None: it is to be taken from the vouchers.

    Raises:
        ConfigurationError: There are none to tell by, or they are on several.
    """
    numbers = {watched.deployment.global_id for watched in vouchers}
    if named is not None:
        numbers.add(named)
    if not numbers:
        raise ConfigurationError(
            "there are no vouchers yet to tell the network by", hint="name it with --network"
        )
    if len(numbers) > 1:
        raise ConfigurationError(f"the vouchers are for more than one network (numbers={sorted(numbers)})")
    return numbers.pop()


def require_network(found: int, wanted: int) -> None:
    """Insist that the chain is the vouchers' network.

    Raises:
        ConfigurationError: It is another one.
    """
    if found != wanted:
        raise ConfigurationError(
            f"the vouchers are for another network than this chain (vouchers={wanted} chain={found})",
            hint="give the global.config.json of the network that the channels are on",
        )
