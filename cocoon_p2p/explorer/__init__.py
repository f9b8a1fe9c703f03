"""What is public of a network: who is in its directory, what is asked for, what lies in channels.

    async with open_explorer(loaded, settings) as explorer:
        ...  # explorer.view() is what anybody may know

A figure stands here only with where it comes from: what was asked and answered, what signed records claim,
what a chain proved. What is not public (who buys, how many work behind a proxy) is not guessed.
"""
