"""Short paid questions that a proxy asks its own workers: does the generator behind the sign still work?

    round     when who is asked, and what follows    (the shell)
    watch     what follows from what was found       budget     what may be spent      (pure)
    question  what is asked                          findings   what an answer says    (pure)
    purchase  one exchange, bought as a client would buy it
    house     the account that it is paid from       inside     a stream that never leaves the process

Why and how: docs/decisions/0020-reputation.md.
"""
