// The backend's paths (docs/mini-app.md). The token lives in this module and nowhere else: no cookie, no storage.

let token = "";

export class DoorError extends Error {
  constructor({ code, message, hint }) {
    super(hint ? `${message}: ${hint}` : message);
    this.code = code;
  }
}

function request(name, body) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  return fetch(`/api/${name}`, { method: "POST", headers, body: JSON.stringify(body ?? {}), cache: "no-store" });
}

async function refusal(response) {
  const said = await response.json().catch(() => null);
  return new DoorError(said?.error ?? { code: "error", message: `the backend says ${response.status}` });
}

export async function call(name, body) {
  const response = await request(name, body);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

export async function begin(initData) {
  const session = await call("session", { init_data: initData });
  token = session.token;
  delete session.token;
  return session;
}

// Ask, and tell each piece; gives what the answer has cost.
export async function ask(messages, told) {
  const response = await request("chat", { messages });
  if (!response.ok) throw await refusal(response);
  for await (const { name, data } of events(response.body)) {
    if (name === "piece") told(data.text);
    if (name === "error") throw new DoorError(data);
    if (name === "end") return data;
  }
  throw new DoorError({ code: "cut", message: "the connection ended before the answer did" });
}

// Server-sent events of a POST, which the browser's own EventSource cannot make.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => {
        const at = line.indexOf(": ");
        return [line.slice(0, at), line.slice(at + 2)];
      }));
      yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}
