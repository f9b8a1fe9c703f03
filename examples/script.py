"""Ask once from a script or a notebook: `python script.py CLIENT.toml "Your question"`."""

import sys

from cocoon_p2p import sync

with sync.open_client(sys.argv[1]) as client:
    model = client.models()[0].model.name
    with client.chat(model, [{"role": "user", "content": sys.argv[2]}]) as answer:
        for piece in answer:
            print(piece.text, end="", flush=True)
    print(f"\n{answer.cost} nanoTON, trust {answer.trust}", file=sys.stderr)
