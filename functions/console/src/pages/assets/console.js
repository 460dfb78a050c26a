// Keeps parts of a page up to date by requesting the page again. A part is an element that has an id and the attribute
// `data-refresh`, which gives the seconds between two requests. Without this script, the page stays as it was when it
// was loaded.
"use strict";
(() => {
  const parts = () => [...document.querySelectorAll("[data-refresh][id]")];
  const isInUse = (part) => part.contains(document.activeElement);

  function replace(part, fresh) {
    if (!fresh || !fresh.hasAttribute("data-refresh")) part.removeAttribute("data-refresh");
    // The element itself stays, so that screen readers announce what changes in a live region.
    if (fresh && !isInUse(part) && fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }

  // Shows a notice that the page is out of date, or removes this notice.
  const stale = document.createElement("p");
  stale.className = "notice bad";
  stale.setAttribute("role", "alert");
  let updated = new Date();

  function note(isFresh) {
    if (isFresh) {
      updated = new Date();
      stale.remove();
    } else if (!stale.isConnected) {
      stale.textContent = `Not updated since ${updated.toLocaleTimeString()}: the server does not answer.`;
      document.querySelector("main")?.prepend(stale);
    }
  }

  async function refresh() {
    const response = await fetch(location.href, { credentials: "same-origin" });
    // A redirect means that the session has ended. Reloading leads to the sign-in form.
    if (response.redirected) return location.reload();
    note(response.ok);
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of parts()) replace(part, fresh.getElementById(part.id));
  }

  async function run() {
    if (!document.hidden) {
      try {
        await refresh();
      } catch {
        // The next request may succeed.
        note(false);
      }
    }
    wait();
  }

  function wait() {
    const seconds = parts().map((part) => Number(part.dataset.refresh)).filter((each) => each > 0);
    if (seconds.length > 0) setTimeout(run, 1000 * Math.min(...seconds));
  }

  wait();
})();
