"""How a fault of ours is logged: what kind of error it was, and where, and none of its words.

The text of an error may quote what was asked or answered.
"""

import traceback


def fault_facts(error: BaseException) -> dict[str, str]:
    """Give a log entry's facts about an error."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "nowhere"
    return {"error": type(error).__name__, "at": where}
