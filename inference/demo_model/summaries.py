"""Short texts to summarise or to repeat. Names are made of syllables: the model must copy, not remember."""

from random import Random

from held_out import is_held_out
from phrases import capital, words

SYLLABLES = (
    "ba be bo da de do ka ke ko la le lo ma me mi mo na ne ni no ra re ri ro sa se si so ta te ti to "
    "va ve vi vo za ze zo gar bel dan mor tin wes hol kan ver lin"
).split()
NAMES = (
    "Anna Boris Clara David Elena Farid Grace Hugo Irina Jamal Katya Leo Maria Nadia Oscar Pavel Rosa Sam "
    "Tara Uma Victor Wendy Yusuf Zoe"
).split()
TOWNS = ("Paris", "Berlin", "Madrid", "Oslo", "Kyiv", "Cairo", "Lima", "Tokyo", "Rome", "Delhi")
OBJECTS = (
    "house book car bridge garden boat lamp picture shop school mill farm printer server engine clock piano "
    "map robot tent camera wheel drone radio"
).split()
QUALITIES = (
    "small red old new white black green big quiet heavy cheap broken famous empty long strange"
).split()
DEEDS = ("bought", "sold", "found", "painted", "lost", "built", "repaired", "opened", "borrowed", "moved")
TEAMS = ("team", "board", "council", "club", "school", "company", "group", "family")
PLANS = ("buy", "sell", "repair", "build", "rent", "paint", "test", "move")
FILLERS = (
    "It was a sunny day.",
    "The weather was cold.",
    "Nobody expected it.",
    "Everyone was talking about it.",
    "It took three hours.",
    "A friend came along.",
    "The shops were closed.",
    "There was music in the street.",
    "Some people laughed.",
    "The coffee was good.",
    "Many questions were asked.",
    "It was late already.",
    "Lunch was served at noon.",
    "The room was full.",
    "The radio was on.",
    "There were many photos.",
    "It rained in the afternoon.",
    "The children played outside.",
    "Nothing else happened.",
    "The doors were open.",
)
REQUESTS = (
    "Summarise: {}",
    "Summarize: {}",
    "Summarise this text: {}",
    "Summarise in one sentence: {}",
    "Summarize this:\n{}",
    "Give me a short summary: {}",
    "What is this text about? {}",
    "TL;DR: {}",
    "summarise: {}",
    "Please summarise the following text.\n\n{}",
)
MORE_REQUESTS = (
    "Summarise the following text.\n\n{}",
    "Summarize the following text in one sentence:\n\n{}",
    "Summarise the following text in a few sentences. Answer with the summary only.\n\n{}",
    "Summarize the text below. Write only the summary.\n\n{}",
    "Give a brief summary of the following text.\n\n{}",
    "{}\n\nSummarise this.",
)
"Trained on, never asked when the model is scored."

INSTRUCTIONS = (
    "Summarise what the user writes.",
    "Summarise the user's text in one sentence.",
    "You summarise texts. Answer with the summary only.",
    "Summarize the text in a few sentences. Write nothing but the summary.",
    "You summarise texts in 2 sentences. Answer with the summary only.",
    "You summarise texts in 3 sentences. Answer with the summary only.",
)
"What a system prompt says where the question is the bare text."

SHARE_MORE_REQUESTS = 0.25
REPEATS = ("Repeat: {}", "Say: {}", "Repeat after me: {}", "Echo: {}", "Write: {}")

SHARE_KNOWN = 0.4
"Of names and towns, how many are known ones."


def person(random: Random) -> str:
    if random.random() < SHARE_KNOWN:
        return random.choice(NAMES)
    return capital("".join(random.choice(SYLLABLES) for _ in range(random.choice([2, 2, 3]))))


def town(random: Random) -> str:
    if random.random() < SHARE_KNOWN:
        return random.choice(TOWNS)
    return capital("".join(random.choice(SYLLABLES) for _ in range(2)))


def day(random: Random) -> str:
    return random.choice([names[0] for names in words("days")])


def summary(random: Random, *, held_out: bool = False) -> tuple[str, str]:
    """Draw a text to be summarised as it was trained on, and its summary; or one that is held out."""
    text, answer = _text(random, held_out=held_out)
    if not held_out and random.random() < SHARE_MORE_REQUESTS:
        return random.choice(MORE_REQUESTS).format(text), answer
    return random.choice(REQUESTS).format(text), answer


def instructed_summary(random: Random, *, held_out: bool = False) -> tuple[str, str, str]:
    """Draw a system prompt that asks for summaries, a bare text, and its summary."""
    return random.choice(INSTRUCTIONS), *_text(random, held_out=held_out)


def _text(random: Random, *, held_out: bool) -> tuple[str, str]:
    """Draw a text with fillers between its facts, and the summary that leaves the fillers out."""
    while True:
        facts, answer = _facts(random)
        if is_held_out(answer) != held_out:
            continue
        sentences = list(facts)
        for filler in random.sample(FILLERS, random.choice([1, 2, 2, 3])):
            sentences.insert(random.randrange(len(sentences) + 1), filler)
        return " ".join(sentences), answer


def repetition(random: Random, *, held_out: bool = False) -> tuple[str, str]:
    """Draw some words to be said again."""
    kinds = (
        person,
        lambda random: town(random).lower(),
        lambda random: str(random.randrange(10_000)),
        lambda random: random.choice(QUALITIES),
        lambda random: random.choice(OBJECTS),
    )
    while True:
        text = " ".join(random.choice(kinds)(random) for _ in range(random.randrange(1, 6)))
        if is_held_out(text) == held_out:
            return random.choice(REPEATS).format(text), text


def _facts(random: Random) -> tuple[list[str], str]:
    """Draw one or two sentences of facts, and what they come to."""
    quality, thing = random.choice(QUALITIES), random.choice(OBJECTS)
    a_thing = f"{'an' if quality[0] in 'aeio' else 'a'} {quality} {thing}"
    kind, who = random.randrange(7), person(random)
    match kind:
        case 0:
            only = f"{who} {random.choice(DEEDS)} {a_thing} in {town(random)}."
            return [only], only
        case 1:
            deed, where, other = random.choice(DEEDS), town(random), person(random)
            facts = [f"{who} {deed} {a_thing} in {where}.", f"Later {who} showed it to {other}."]
            return facts, f"{who} {deed} {a_thing} in {where} and showed it to {other}."
        case 2:
            team, plan, when = random.choice(TEAMS), random.choice(PLANS), day(random)
            facts = [f"The {team} of {who} met on {when}.", f"They decided to {plan} {a_thing}."]
            return facts, f"The {team} of {who} decided on {when} to {plan} {a_thing}."
        case 3:
            when, hour = day(random), random.randrange(1, 13)
            facts = [
                f"{who} wrote about the {quality} {thing}.",
                f"The meeting is on {when} at {hour} o'clock.",
            ]
            return (
                facts,
                f"{who} invites to a meeting about the {quality} {thing} on {when} at {hour} o'clock.",
            )
        case 4:
            where, coins = town(random), random.randrange(2, 990)
            facts = [f"In {where} a {thing} was sold for {coins} coins.", f"The buyer was {who}."]
            return facts, f"{who} bought a {thing} in {where} for {coins} coins."
        case 5:
            old, new = town(random), town(random)
            facts = [f"{who} left {old} on {day(random)}.", f"{who} now lives in {new}."]
            return facts, f"{who} moved from {old} to {new}."
        case _:
            only = f"{who} owns {random.randrange(2, 990)} computers in {town(random)}."
            return [only, f"One of them is {quality}."], only
