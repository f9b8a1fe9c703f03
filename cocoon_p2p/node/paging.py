"""A node's page, served beside what the node is there for, and never in its way.

Whatever is wrong with the page, a step says so with what to do, and the node works on without it.
"""

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from cocoon_p2p.config import BootstrapFile, Loaded, ProxyFile, WorkerFile
from cocoon_p2p.errors import CocoonError, ConfigurationError, Unavailable
from cocoon_p2p.node.announce import Announce
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.deeds import Close, Deeds
from cocoon_p2p.worker import Worker

if TYPE_CHECKING:
    from cocoon_p2p.web import Listen

log = logging.getLogger(__name__)

STEP = "page"
"The step that says where the page is, or what is wrong with it."

PORTS = {WorkerFile: 8910, ProxyFile: 8911, BootstrapFile: 8912}
"Where it is found on 127.0.0.1, if its file does not say."

_MISSING = "a node's page needs more libraries"
_INSTALL_HINT = "install them with: pip install 'cocoon-p2p[page]'; or write `listen = \"\"` in [page]"

PagedFile = Loaded[WorkerFile] | Loaded[ProxyFile] | Loaded[BootstrapFile]


async def serve_page(
    loaded: PagedFile, announce: Announce, showing: Showing, deeds: Deeds | None = None
) -> None:
    """Serve a node's page where its file says, until cancelled. Raises nothing.

    Args:
        loaded: The node's file.
        announce: Told the address, or what is wrong.
        showing: What the node shows of itself.
        deeds: What can be done to its channels; None: it has none.
    """
    where = loaded.settings.page.listen
    if where == "":
        return
    try:
        try:
            listen = _listen(loaded, where)
            await _serve(loaded, listen, announce, showing, deeds)
        except ImportError as exc:
            raise ConfigurationError(f"{_MISSING}: {exc}", hint=_INSTALL_HINT) from exc
    except CocoonError as exc:
        announce(STEP, status="failed", hint=exc.hint, why=str(exc))
    except Exception:  # (a task ends here)
        log.exception("the page failed by a fault of ours")
        announce(STEP, status="failed", hint="look into the log", why="a fault of the page's")


def _listen(loaded: PagedFile, where: str | None) -> "Listen":
    """Say where to listen.

    Raises:
        ConfigurationError: It is no address, or others would see what the node earns.
        ImportError: The extra is not installed.
    """
    from cocoon_p2p.web import Listen, read_listen

    if where is None:
        return Listen("127.0.0.1", PORTS[type(loaded.settings)])
    listen = read_listen(where)
    if not listen.is_loopback and not loaded.settings.page.public:
        raise ConfigurationError(
            f"others can reach {listen.host}, and would see what this node earns",
            hint="listen on 127.0.0.1 and look at it through `ssh -L`; or write `public = true` in [page]",
        )
    return listen


async def _serve(
    loaded: PagedFile, listen: "Listen", announce: Announce, showing: Showing, deeds: Deeds | None
) -> None:
    from cocoon_p2p.page import TOKEN_FILE, Gate, Page, keep_token
    from cocoon_p2p.page import Deeds as PageDeeds
    from cocoon_p2p.web import serve_site

    section, folder = loaded.settings.page, loaded.data_directory
    async with open_service_nursery() as nursery:
        can_do = PageDeeds()
        if deeds is not None:
            price = partial(_price, showing) if isinstance(loaded.settings, WorkerFile) else None
            can_do = PageDeeds(partial(_drain, showing, nursery), partial(_close, deeds), price)
        page = Page(
            showing.snapshot,
            showing.journal,
            can_do,
            # Where others see it, nothing can be done on it.
            None if section.public else Gate(keep_token(folder), trio.current_time),
            token_file=folder / TOKEN_FILE,
            hosts=section.hosts,
        )
        nursery.start_soon(page.run)
        url = await nursery.start(serve_site, page.app, listen)
        announce(STEP, url=url)
        await trio.sleep_forever()


def _drain(showing: Showing, nursery: trio.Nursery) -> None:
    """Have the node take nothing new from now on.

    Raises:
        Unavailable: It has not begun to sell.
    """
    if showing.seller is None:
        raise _starting()
    nursery.start_soon(showing.seller.drain)


def _price(showing: Showing, model: str, completion: int) -> str:
    """Ask another price, and say what comes of it.

    Raises:
        Unavailable: The worker has not begun to sell.
        ConfigurationError: It cannot have this price.
    """
    if showing.prices is None or not isinstance(showing.seller, Worker):
        raise _starting()
    return showing.prices.ask(showing.seller, model, completion)


def _starting() -> Unavailable:
    return Unavailable("the node is still starting", hint="try again in a moment")


async def _close(deeds: Deeds, channel: str) -> str:
    """Close a channel, and say how far it came. Raises as `Deeds.close` does."""
    views: list[ChannelView] = []

    async def note(view: ChannelView) -> None:
        views[:] = [view]
        await trio.lowlevel.checkpoint()

    await deeds.close(Close(channel), note)
    return f"channel {channel[:8]} is {views[0].phase}" if views else f"channel {channel[:8]} closes"
