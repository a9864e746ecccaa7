// What makes the pages of synchro pleasant; all of them work without it.
"use strict";

(() => {
  // Progress: ask the server how far the job is; load the page anew when it is over.
  const progress = document.querySelector("[data-synchro-state]");
  if (progress) {
    const stage = document.getElementById("synchro-stage");
    const bar = document.getElementById("synchro-bar");
    const numbers = document.getElementById("synchro-numbers");
    let failures = 0;

    const show = (state) => {
      if (!state.cancelling && stage.textContent !== state.stage) {
        stage.textContent = state.stage; // Read out only when it changes.
      }
      if (state.percent === null) {
        bar.removeAttribute("value");
      } else {
        bar.value = state.percent;
      }
      numbers.textContent = state.total ? `${state.done} / ${state.total}` : state.done || "";
    };

    const ask = async () => {
      try {
        const response = await fetch(progress.dataset.synchroState, { credentials: "same-origin" });
        const state = response.ok ? await response.json() : null;
        if (state === null || !state.going_on) {
          location.reload();
          return;
        }
        failures = 0;
        show(state);
      } catch {
        failures += 1; // The server may be restarting.
      }
      setTimeout(ask, Math.min(1000 * 2 ** failures, 30000));
    };

    setTimeout(ask, 500);
  }

  // Ticks of a preview: count them while they are set.
  const form = document.getElementById("synchro-preview");
  if (form) {
    const counter = (label) => form.querySelector(`[data-synchro-chosen="${CSS.escape(label)}"]`);
    form.addEventListener("change", (event) => {
      const label = event.target.dataset ? event.target.dataset.synchroModel : undefined;
      if (!label) {
        return;
      }
      for (const element of [counter(label), counter("*")]) {
        if (element) {
          element.textContent = Number(element.textContent) + (event.target.checked ? 1 : -1);
        }
      }
    });
  }
})();
