"""A wallet's journal in a file beside it: the one spending that is not done, if there is one.

For a wallet that a person spends from. A node's is in its ledger.
"""

from pathlib import Path

import msgspec
import trio

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.wallet.journal import End
from cocoon_p2p.payments.wallet.landing import Spending

_VERSION = 1


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    spending: Spending


class FileJournal:
    """A `Journal` in one file. Whoever uses it holds the wallet (`wallet_file.held`)."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is there only while something is pending."""
        self._path = path

    @property
    def is_empty(self) -> bool:
        """Whether nothing is pending, as far as a glance tells."""
        return not self._path.exists()

    @classmethod
    def beside(cls, wallet: Path) -> "FileJournal":
        """Give the journal of the wallet whose file this is."""
        # A link to the wallet is the same wallet.
        wallet = wallet.resolve()
        return cls(wallet.with_name(wallet.name + ".pending"))

    async def pending(self) -> Spending | None:
        """Read what is pending.

        Raises:
            ConfigurationError: The file cannot be read: a payment may or may not have been made.
        """
        try:
            data = await trio.to_thread.run_sync(private_files.read, self._path)
            kept = msgspec.json.decode(data, type=_Kept)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            kept = None
        if kept is None or kept.version != _VERSION:
            raise ConfigurationError(
                f"{self._path} cannot be read, and with it whether a payment is under way",
                hint="see in a block explorer what the wallet did; when an hour is over the file can go",
            )
        return kept.spending

    async def save(self, spending: Spending) -> None:
        data = msgspec.json.encode(_Kept(_VERSION, spending))
        await trio.to_thread.run_sync(private_files.replace, self._path, data)

    async def done(self, number: int, end: End) -> None:
        await trio.to_thread.run_sync(private_files.remove, self._path)
