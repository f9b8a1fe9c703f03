"""Speech written down by Whisper models, on a processor, over the library ctranslate2.

Sound is decoded by FFmpeg's libraries in a child process that can do nothing else; the loop over windows of
thirty seconds is ours, so that segments are delivered as they come, and counted.
"""

from cocoon_p2p.inference.whisper.opening import open_whisper

__all__ = ["open_whisper"]
