"""A request's wishes in llama.cpp's words, and what of them it cannot grant."""

from typing import Final

from cocoon_p2p.inference.constraints import calls_gbnf, gbnf_of
from cocoon_p2p.inference.engine import FeatureMissing, GenerateRequest, ModelCard, RequestMalformed
from cocoon_p2p.inference.llama_messages import Completion
from cocoon_p2p.inference.tools import CallForm
from cocoon_p2p.inference.wishes import ToolUse

SEEDS: Final = 2**32 - 1
"llama.cpp takes 32 bits, and the highest number means none."


def grammar_of(request: GenerateRequest, form: CallForm | None) -> str:
    """Write what the answer must look like; empty where it may be anything. Blocks, some tenths of a second.

    Raises:
        RequestMalformed: The constraint is none, or beyond what is taken; the text names what.
        FeatureMissing: The answer goes on from a prefix, and llama.cpp begins every grammar at its beginning.
    """
    if request.constraint is None and request.tool_use is not ToolUse.REQUIRED:
        return ""
    if request.answer_prefix:
        raise FeatureMissing("this engine cannot go on with an answer that has a form: ask for it anew")
    if request.constraint is not None:
        return gbnf_of(request.constraint)
    return "" if form is None else calls_gbnf(form, request.tools)


def refuse_tokens(request: GenerateRequest, vocabulary: int) -> None:
    """Refuse to bias tokens that the model does not have: llama.cpp would pass over them.

    Raises:
        RequestMalformed: There is one.
    """
    highest = max((token for token, _ in request.logit_bias), default=0)
    if vocabulary and highest >= vocabulary:
        raise RequestMalformed(f"logit bias of an unknown token (asked={highest} vocabulary={vocabulary})")


def offered_form(request: GenerateRequest, form: CallForm | None) -> CallForm | None:
    """How tools are called in the answer; None where none may be."""
    return form if request.tools and request.tool_use is not ToolUse.NONE else None


def completion(
    request: GenerateRequest,
    prompt: list[int],
    card: ModelCard,
    *,
    slot: int,
    may_reuse: bool,
    grammar: str,
    form: CallForm | None,
) -> Completion:
    """Write the request to llama.cpp's server.

    Args:
        request: What is asked for.
        prompt: Its tokens.
        card: The model's.
        slot: Which computes it.
        may_reuse: Whether what the slot holds is of the same scope.
        grammar: Of the answer; empty where it may be anything.
        form: How tools are called in it, if they may be.
    """
    has_penalties = request.frequency_penalty != 0 or request.presence_penalty != 0
    return Completion(
        prompt=prompt,
        max_tokens=min(request.completion_tokens_max, card.context_tokens - len(prompt)),
        temperature=request.temperature,
        top_p=request.top_p,
        id_slot=slot,
        cache_prompt=may_reuse,
        seed=None if request.seed is None else request.seed % SEEDS,
        ignore_eos=request.ignore_eos,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        repeat_last_n=card.context_tokens if has_penalties else 0,
        logit_bias=request.logit_bias,
        grammar=grammar,
        n_probs=0 if request.logprobs is None else max(request.logprobs, 1),
        preserved_tokens=() if form is None else form.control_tokens,
    )
