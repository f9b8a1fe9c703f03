// A Mini App whose user pays for their own answers: who it is, whose wallet, what lies in the channel, and the chat.

import { ask, begin, call } from "./door.js";
import { findWallet } from "./wallet.js";

const NANO = 1e9;
const LOOK_MS = 1500;
const LOOKS = 80;

const at = (id) => document.getElementById(id);
const chat = [];
let session = null;
let wallet = null;

function show(id, is = true) {
  at(id).hidden = !is;
}

function ton(nano) {
  return `${(nano / NANO).toFixed(9).replace(/\.?0+$/, "")} TON`;
}

// Run what a click began; its button waits, and its trouble is told.
async function doing(button, work) {
  show("trouble", false);
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    at("trouble").textContent = error.message;
    show("trouble");
  } finally {
    button.disabled = false;
    show("waiting", false);
  }
}

function waiting(text) {
  at("waiting").textContent = text;
  show("waiting");
}

// ------------------------------------------------------------ who it is

// Telegram opens a Mini App with its launch parameters behind the #.
function initData() {
  return new URLSearchParams(location.hash.slice(1)).get("tgWebAppData") ?? "";
}

async function start() {
  const signed = initData();
  history.replaceState(null, "", location.pathname);
  window.TelegramWebviewProxy?.postEvent("web_app_ready", "{}");
  try {
    session = await begin(signed);
  } catch (error) {
    at("who").textContent = "Open this from its bot in Telegram.";
    at("trouble").textContent = error.message;
    return show("trouble");
  }
  at("who").textContent = `Hello ${session.name}. Answers come from ${session.model}; you pay for your own.`;
  at("amount").min = session.top_up_min / NANO;
  at("amount").max = session.top_up_max / NANO;
  at("amount").value = 1;
  at("connect").disabled = false;
}

async function connect() {
  wallet = findWallet(window);
  if (!wallet) throw new Error("no wallet here: install the extension of one that knows TON Connect");
  const proof = await wallet.connect(session.manifest, session.nonce);
  try {
    at("wallet").textContent = short((await call("proof", proof)).wallet);
  } catch (error) {
    // A nonce is good for one try.
    session.nonce = (await call("nonce")).nonce;
    throw error;
  }
  show("connect", false);
  for (const id of ["balance", "top-up", "ask"]) show(id);
  tell(await call("balance"));
}

function short(address) {
  return `${address.slice(0, 4)}…${address.slice(-4)}`;
}

// ------------------------------------------------------------ the user's own money

function tell(balance) {
  at("left").textContent = ton(balance.left);
  at("spent").textContent = ton(balance.spent);
  for (const id of ["alone", "close"]) show(id, balance.channel !== null);
  return balance;
}

async function until(text, holds) {
  waiting(text);
  for (let looks = 0; looks < LOOKS; looks += 1) {
    if (holds(tell(await call("balance")))) return;
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
  throw new Error("the chain has not shown it yet: look again later");
}

async function topUp() {
  const before = await call("balance");
  waiting("Look at your wallet…");
  await wallet.send(await call("top-up", { capacity: Math.round(at("amount").value * NANO) }));
  await until("Waiting for the chain…", (now) => now.left > before.left && now.is_taken);
}

async function close(alone) {
  waiting("Look at your wallet…");
  await wallet.send(await call("close", { alone }));
  await until("Waiting for the chain…", (now) => now.channel === null || (alone && now.is_closing));
}

// ------------------------------------------------------------ the chat

function line(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  at("chat").append(item);
  return item;
}

async function send() {
  const content = at("prompt").value.trim();
  if (!content) return;
  line("user", content);
  const answer = line("assistant", "");
  at("prompt").value = "";
  const asked = [...chat, { role: "user", content }];
  const end = await ask(asked, (text) => {
    answer.textContent += text;
  });
  chat.push({ role: "user", content }, { role: "assistant", content: answer.textContent });
  line("cost", `${ton(end.cost)}, proven: ${end.trust === "open" ? "nothing" : end.trust}`);
  tell(end.balance);
  if (end.balance.held > 0) await until("Settling…", (now) => now.held === 0);
}

at("connect").addEventListener("click", () => doing(at("connect"), connect));
at("close").addEventListener("click", () => doing(at("close"), () => close(false)));
at("alone").addEventListener("click", () => doing(at("alone"), () => close(true)));
for (const [id, work] of [["top-up", topUp], ["ask", send]]) {
  at(id).addEventListener("submit", (event) => {
    event.preventDefault();
    doing(event.submitter, work);
  });
}
start();
