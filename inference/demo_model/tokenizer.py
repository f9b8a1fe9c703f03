"""The demo model's tokenizer: byte-level BPE, trained on the model's own documents, digits one by one."""

from collections.abc import Iterable

from documents import BEGIN_OF_TEXT, BEGIN_OF_TURN, END_OF_TURN
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1536

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": BEGIN_OF_TEXT,
    "eos_token": END_OF_TURN,
    "pad_token": BEGIN_OF_TEXT,
    "chat_template": CHAT_TEMPLATE,
    "clean_up_tokenization_spaces": False,
    "add_bos_token": False,
}
"What stands in `tokenizer_config.json`."


def trained_tokenizer(texts: Iterable[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN_OF_TEXT, BEGIN_OF_TURN, END_OF_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
