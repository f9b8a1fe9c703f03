"""Engines that run elsewhere: any server that speaks OpenAI's completions, and splits text for us.

    vLLM, SGLang, TabbyAPI, llama.cpp's server    they say how a chat is rendered and split

For who outgrew one machine, or has such a server already. It sees prompts in the clear, so it belongs
to the worker's owner and is reached by nobody else.
"""

from cocoon_p2p.inference.upstream.opening import Upstream, open_upstream

__all__ = ["Upstream", "open_upstream"]
