"""What the Bot API says when it says no, in its own words.

The texts are those of telegram-bot-api's `Client.cpp` and of the servers behind it; libraries and bots look
for pieces of them, so each stands here once and exactly.
"""

CHAT_NOT_FOUND = "chat not found"
EMPTY_TEXT = "message text is empty"
EMPTY_AFTER_PARSING = "text must be non-empty"
TOO_LONG = "message is too long"
# An edit passes the server's own name on; a send translates it (td's process_send_message_fail_error).
TOO_LONG_EDIT = "MESSAGE_TOO_LONG"
CAPTION_TOO_LONG = "message caption is too long"
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
CANNOT_EDIT = "message can't be edited"
CANNOT_DELETE = "message can't be deleted"
QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"
THREAD_NOT_FOUND = "message thread not found"
FILE_TOO_BIG = "file is too big"
WRONG_FILE = "wrong file_id or the file is temporarily unavailable"
DRAFT_PEER = "TEXTDRAFT_PEER_INVALID"
BLOCKED = "Forbidden: bot was blocked by the user"
KICKED = "Forbidden: bot was kicked from the supergroup chat"
OTHER_POLL = (
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
)
POLL_ENDED_BY_WEBHOOK = "Conflict: terminated by setWebhook request"
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook"
    " first"
)


class Rejected(Exception):
    """A call is answered with an error.

    Attributes:
        code: The HTTP status and `error_code`.
        description: What the bot reads, prefix and all.
        retry_after: Seconds that the bot shall wait (only with 429).
    """

    def __init__(self, code: int, description: str, *, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.retry_after = retry_after


def bad_request(what: str) -> Rejected:
    """400, with the prefix that the server puts before it."""
    return Rejected(400, f"Bad Request: {what}")


def not_found(what: str) -> Rejected:
    """What is missed of a message: `message to edit not found`."""
    return bad_request(f"{what} not found")


def too_many_requests(retry_after: int) -> Rejected:
    """429: the same call may be made again after so many seconds, not before."""
    return Rejected(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)
