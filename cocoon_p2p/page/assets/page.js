// A node's own page: tells a change of state to those who cannot see it, and has things done with the token.
"use strict";
(() => {
  const KEY = "cocoon-token";
  const spoken = document.getElementById("spoken");
  const said = document.getElementById("said");
  const form = document.getElementById("unlock");

  function speak() {
    const state = document.querySelector("#state h1")?.textContent.replace(/\s+/g, " ").trim();
    if (state && spoken.dataset.state && spoken.dataset.state !== state) spoken.textContent = state;
    if (state) spoken.dataset.state = state;
  }
  speak();
  document.addEventListener("live:parts", speak);
  if (!form) return;

  function tell(text, isBad) {
    said.textContent = text;
    said.classList.toggle("bad", Boolean(isBad));
  }

  async function act(name, token, about) {
    const answer = await fetch(`/act/${name}`, {
      method: "POST",
      headers: { "x-cocoon-token": token, "content-type": "application/json" },
      body: JSON.stringify(about),
    });
    const words = await answer.json();
    if (!answer.ok) throw new Error(words.hint ? `${words.error} (${words.hint})` : words.error);
    return words.said;
  }

  // Commas part thousands and nothing else: of "25.000" and "20,5" nobody knows what is meant (null).
  function whole(said) {
    return /^(\d+|\d{1,3}(,\d{3})+)$/.test(said) ? Number(said.replaceAll(",", "")) : null;
  }

  // What each deed is about, once its owner has said so (null: not meant), and what is told while it is done.
  const DEEDS = {
    drain: () => ({ about: confirm("Take nothing new until the next restart?") ? {} : null, doing: "Draining ..." }),
    close: ({ channel }) => ({
      about: confirm(`Close channel ${channel.slice(0, 8)}?`) ? { channel } : null,
      doing: "Closing: the other end is asked to agree ...",
    }),
    price: ({ model, completion }) => {
      const said = prompt(`${model}: nanoTON for 1,000 completion tokens`, completion);
      return { about: said === null ? null : { model, completion: whole(said.trim()) }, doing: "Asking ..." };
    },
  };

  function show(isUnlocked) {
    document.body.toggleAttribute("data-unlocked", isUnlocked);
    form.hidden = isUnlocked;
    document.getElementById("unlocked").hidden = !isUnlocked;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = document.getElementById("token");
    try {
      await act("unlock", field.value.trim(), {});
      sessionStorage.setItem(KEY, field.value.trim());
      field.value = "";
      show(true);
      tell("Unlocked.");
      document.getElementById("lock").focus();
    } catch (error) {
      tell(error.message, true);
    }
  });

  document.getElementById("lock").addEventListener("click", () => {
    sessionStorage.removeItem(KEY);
    show(false);
    tell("Locked.");
    document.getElementById("token").focus();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-deed]");
    if (!button) return;
    const { deed } = button.dataset;
    const { about, doing } = DEEDS[deed](button.dataset);
    if (!about) return;
    button.disabled = true;
    tell(doing);
    try {
      tell(await act(deed, sessionStorage.getItem(KEY) || "", about));
    } catch (error) {
      tell(error.message, true);
    } finally {
      button.disabled = false;
      // A browser lets go of a button that is disabled, and meanwhile it may be another one.
      if (document.activeElement === document.body) document.getElementById(button.id)?.focus({ preventScroll: true });
    }
  });

  show(sessionStorage.getItem(KEY) !== null);
})();
