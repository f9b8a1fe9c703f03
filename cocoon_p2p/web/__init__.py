"""What every page of ours stands on: a node's own (`page`), and the network's (`explorer`).

    assets = Assets(HERE / "assets")                             # and the shared ones
    templates = open_templates(HERE / "templates", assets)       # yours extend site.html
    routes = [Route("/", front), assets.route]
    app = Guard(Starlette(routes=routes), Names(["box.example.org"]))
    url = await nursery.start(serve_site, app, read_listen("127.0.0.1:8910"))

* `site.html` has the blocks `title`, `head` (style sheets), `scripts`, `header`, `main` and `footer`. With
  `events="/events"` in what it is rendered with, the page is renewed from that stream by `live.js`, which
  says what events it takes; `plot.js` draws elements of class `plot`. The style is `site.css`: cards in a
  `grid`, `facts`, `lines`, `tag`s, tables with a `data-label` on each `td`, lines where it is narrow.
* Scripts and styles are files: the policy (`Guard`) runs and applies nothing that stands in a page itself, so
  there are no `style=` and `onclick=` either.
* What is written into a template is text: escaped, without controls and turns of direction, and cut
  (`plain`). Never mark anything `safe`.
* `EventStream` is an answer that goes on for as long as its reader is there; a reader that does not read is
  dropped (`Bounds.send_seconds`).

It needs the extra `page`: import it within functions, and say so where it is missing.
"""

from cocoon_p2p.web.assets import Assets as Assets
from cocoon_p2p.web.connections import Bearable as Bearable
from cocoon_p2p.web.event_stream import EventStream as EventStream
from cocoon_p2p.web.event_stream import Say as Say
from cocoon_p2p.web.event_stream import spell_event as spell_event
from cocoon_p2p.web.guard import Guard as Guard
from cocoon_p2p.web.listening import Bounds as Bounds
from cocoon_p2p.web.listening import Listen as Listen
from cocoon_p2p.web.listening import read_listen as read_listen
from cocoon_p2p.web.listening import serve_site as serve_site
from cocoon_p2p.web.names import Names as Names
from cocoon_p2p.web.names import is_loopback as is_loopback
from cocoon_p2p.web.templates import open_templates as open_templates
from cocoon_p2p.web.templates import plain as plain
