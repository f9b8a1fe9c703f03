// A wallet, through TON Connect's JS bridge: what wallets' extensions put into every page. Two calls are all that
// app.js needs of it. For wallets that are reached by a link, put TON Connect's own SDK behind the same two.
//
// Spec: github.com/ton-blockchain/ton-connect, bridge.md (JS bridge), requests-responses.md.

const PROTOCOL_VERSION = 2;

export function findWallet(window) {
  for (const name of Object.getOwnPropertyNames(window)) {
    // Some properties of a window complain when they are read.
    try {
      const bridge = window[name]?.tonconnect;
      if (typeof bridge?.connect === "function" && typeof bridge?.send === "function") return new Wallet(bridge);
    } catch { /* not a wallet */ }
  }
  return null;
}

class Wallet {
  #bridge;
  #requests = 0;

  constructor(bridge) {
    this.#bridge = bridge;
  }

  // Ask its owner to connect, and to sign the nonce. Gives what the backend's /api/proof takes.
  async connect(manifestUrl, nonce) {
    const items = [{ name: "ton_addr" }, { name: "ton_proof", payload: nonce }];
    const event = await this.#bridge.connect(PROTOCOL_VERSION, { manifestUrl, items });
    if (event.event !== "connect") throw new Error(event.payload?.message ?? "the wallet does not connect");
    const address = event.payload.items.find((item) => item.name === "ton_addr");
    const proof = event.payload.items.find((item) => item.name === "ton_proof");
    if (!address || !proof?.proof) throw new Error("the wallet shows no proof of whose it is");
    const account = {
      address: address.address,
      chain: address.network,
      walletStateInit: address.walletStateInit,
    };
    return { account, proof: proof.proof };
  }

  // Ask its owner to send what an order of the backend's says.
  async send(order) {
    this.#requests += 1;
    const request = { method: "sendTransaction", params: [JSON.stringify(order)], id: String(this.#requests) };
    const answer = await this.#bridge.send(request);
    if (answer.error) throw new Error(answer.error.message ?? "the wallet does not send it");
  }
}
