"""OpenAI's SDK in front of the network: `cocoon gateway`, then `python openai_sdk.py http://127.0.0.1:8900/v1`.

Only the base URL is another. What an answer has cost and what was proven stands beside OpenAI's own fields.
"""

import os
import sys
from typing import Literal

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

client = OpenAI(base_url=sys.argv[1], api_key=os.environ.get("COCOON_API_KEY", "none-is-needed"))
hello: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]

models = {model.id: model.model_extra["cocoon"] for model in client.models.list() if model.model_extra}
model = next(name for name, facts in models.items() if facts["kind"] == "chat")


def paid(answer: BaseModel) -> str:
    facts = (answer.model_extra or {})["cocoon"]
    return f"{facts['cost']} nanoTON, trust {facts['trust']}"


print("# an answer")
answer = client.chat.completions.create(
    model=model,
    messages=hello,
    temperature=0,
    extra_body={"max_price": 1_000_000},  # nanoTON
)
print(answer.choices[0].message.content)
print(f"  {paid(answer)}")

print("# as it comes")
for chunk in client.chat.completions.create(model=model, messages=hello, temperature=0, stream=True):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if "cocoon" in (chunk.model_extra or {}):
        # In the last chunk: only now it is known.
        print(f"\n  {paid(chunk)}")

print("# in a form")


class Verdict(BaseModel):
    language: Literal["English", "Spanish"]
    is_greeting: bool


parsed = client.chat.completions.parse(model=model, messages=hello, temperature=0, response_format=Verdict)
print(parsed.choices[0].message.parsed)

# The demo network has no model for what follows.
caller = next((name for name, facts in models.items() if "tools" in facts["features"]), None)
if caller:
    print("# with a tool")
    tool: ChatCompletionToolParam = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}},
        },
    }
    asked = client.chat.completions.create(
        model=caller, messages=hello, tools=[tool], tool_choice="required", max_tokens=100
    )
    for call in asked.choices[0].message.tool_calls or ():
        if call.type == "function":
            print(call.function.name, call.function.arguments)

for name, facts in models.items():
    if facts["kind"] == "embedding":
        print("# as vectors")
        vectors = client.embeddings.create(model=name, input=["the red house", "a blue car"])
        print(f"{len(vectors.data)} of {len(vectors.data[0].embedding)} numbers, {paid(vectors)}")
