// Renews parts of a page from one stream of server-sent events, and tells whether it does.
//
//   event: parts   {"ID": "HTML", ...}     the element with that id has this in it from now on
//   event: ANYTHING                        is handed on: document's event "live:ANYTHING", with the data
//
// HTML comes from our own server alone, which has escaped whatever others said.
"use strict";
(() => {
  const AGAIN_MS = 5000;
  const body = document.body;
  const word = document.getElementById("live");
  const handedOn = (body.dataset.handedOn || "").split(" ").filter(Boolean);
  let stream = null;
  let timer = 0;

  function tell(state, text) {
    body.dataset.live = state;
    if (word && word.textContent !== text) word.textContent = text;
  }

  // What the reader has opened stays open, and who is at a button stays there.
  function renew(id, html) {
    const part = document.getElementById(id);
    if (!part) return;
    const held = part.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
    part.innerHTML = html;
    for (const each of opened) document.getElementById(each)?.setAttribute("open", "");
    if (held) document.getElementById(held)?.focus({ preventScroll: true });
  }

  function open() {
    clearTimeout(timer);
    stream = new EventSource(body.dataset.events);
    stream.addEventListener("parts", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) renew(id, html);
      tell("on", "live");
      document.dispatchEvent(new CustomEvent("live:parts"));
    });
    for (const name of handedOn) {
      stream.addEventListener(name, (event) => {
        document.dispatchEvent(new CustomEvent(`live:${name}`, { detail: JSON.parse(event.data) }));
      });
    }
    stream.addEventListener("error", () => {
      tell("off", "connection lost, trying again");
      // A browser tries again by itself, unless it was refused.
      if (stream.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_MS);
    });
  }

  function close() {
    clearTimeout(timer);
    stream?.close();
    tell("off", "paused");
  }

  if (body.dataset.events) {
    // Who does not look costs nothing.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    if (!document.hidden) open();
  }
})();
