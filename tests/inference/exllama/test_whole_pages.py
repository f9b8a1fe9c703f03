"""What one model's generator may find in its cache says nothing of what another's may."""

import threading
from types import SimpleNamespace

from cocoon_p2p.inference.exllama.library import share_whole_pages_only


def test_parts_of_pages_match_in_the_thread_that_may_and_in_no_other() -> None:
    dynamic = SimpleNamespace(ext_c=SimpleNamespace(count_match=lambda: 5))
    share_whole_pages_only(dynamic)
    dynamic.ext_c.may_match = True
    elsewhere = list[int]()
    other = threading.Thread(target=lambda: elsewhere.append(dynamic.ext_c.count_match()))
    other.start()
    other.join()

    assert (dynamic.ext_c.count_match(), elsewhere) == (5, [0])
