// Keeps parts of a page up to date. A part is an element with an id and `data-refresh`, the seconds between two requests
// of the same page. Without this script, the page shows what it showed when it was loaded.
"use strict";
(() => {
  const parts = () => [...document.querySelectorAll("[data-refresh][id]")];
  const isInUse = (part) => part.contains(document.activeElement);

  function replace(part, fresh) {
    if (!fresh || !fresh.hasAttribute("data-refresh")) part.removeAttribute("data-refresh");
    // The element itself stays, so that screen readers announce what changes in a live region.
    if (fresh && !isInUse(part) && fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }

  async function refresh() {
    const response = await fetch(location.href, { credentials: "same-origin" });
    // The session has ended: the page leads to the form to sign in.
    if (response.redirected) return location.reload();
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of parts()) replace(part, fresh.getElementById(part.id));
  }

  async function run() {
    if (!document.hidden) {
      try {
        await refresh();
      } catch {
        // The server did not answer. The next request may succeed.
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
