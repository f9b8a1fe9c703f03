"""ExLlamaV2 in this process: EXL2, GPTQ and plain safetensors on NVIDIA cards.

    count     render and split                       in a helper thread
    generate  an order --> the one thread that owns the generator --> pipe --> the reader
    leave     the pipe stops; the thread sees it before its next step

The library is pure Python over CUDA and wants one thread. It knows nothing of trio, of money, or of whom
it may share a cached prefix with; that is added here.
"""

from cocoon_p2p.inference.exllama.opening import ExllamaSettings, open_exllama

__all__ = ["ExllamaSettings", "open_exllama"]
