"use strict";
{
  // Something is heard every five seconds; after three times that there is no news, whatever the connection says.
  const SILENCE = 15000;
  const lost = document.getElementById("lost"), said = document.getElementById("said");
  const chosen = new Map();
  let main = document.querySelector("main"), feed, heard = Date.now(), drawn = heard, dialled;

  const span = (s) => s < 60 ? `${s} s` : s < 3600 ? `${s / 60 | 0} min`
    : s < 86400 ? `${s / 3600 | 0} h ${s % 3600 / 60 | 0} min` : `${s / 86400 | 0} d ${s % 86400 / 3600 | 0} h`;
  const age = () => main.querySelectorAll("[data-s]").forEach((time) => {
    time.textContent = span(+time.dataset.s + Math.max(0, Math.round((Date.now() - drawn) / 1000)));
  });

  const isLost = (is) => {
    if (is && lost.hidden) {
      const at = new Date(heard).toISOString().slice(11, 19);
      lost.textContent = `No news since ${at} UTC: cache-canary itself cannot be reached. What is below is old.`;
    }
    lost.hidden = !is;
    main.classList.toggle("old", is);
    document.title = (is ? "No news, was " : "") + main.dataset.title;
  };

  const show = (html) => {
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("main");
    const same = next.dataset.title === main.dataset.title && lost.hidden;
    // Whoever copies an error out of the page must not lose what they marked.
    if (same && !getSelection().isCollapsed) return;
    for (const [id, open] of chosen) {
      const details = next.querySelector(`#${CSS.escape(id)}`);
      if (details) details.open = open;
    }
    const focused = main.contains(document.activeElement) && document.activeElement.closest("[id]")?.id;
    const { scrollX, scrollY } = window;
    main.replaceWith(next);
    main = next;
    drawn = Date.now();
    scrollTo(scrollX, scrollY);
    if (focused) document.querySelector(`#${CSS.escape(focused)} > summary`)?.focus({ preventScroll: true });
    document.querySelector("link[rel=icon]").href = main.dataset.icon;
    const headline = main.querySelector("h1").textContent;
    if (said.textContent !== headline) said.textContent = headline;
  };

  const listen = () => {
    feed?.close();
    dialled = Date.now();
    feed = new EventSource(location.pathname.replace(/\/(health.*|[a-z]+z)?$/, "/events"));
    const hear = () => { heard = Date.now(); isLost(false); };
    feed.addEventListener("page", (event) => { show(event.data); hear(); });
    feed.addEventListener("beat", hear);
    feed.onerror = () => isLost(true);
  };

  document.addEventListener("click", (event) => {
    const details = event.target.closest("summary")?.parentElement;
    if (details) chosen.set(details.id, !details.open);
  });
  // Some of the checks have no feed of their own: the page is loaded anew instead.
  if ("live" in main.dataset) {
    listen();
    setInterval(() => {
      const now = Date.now();
      if (now - heard > SILENCE) isLost(true);
      // A refusal ends the feed for good, and a connection that says nothing may never end.
      if (!lost.hidden && now - dialled > (feed.readyState === EventSource.CLOSED ? 3000 : SILENCE)) listen();
    }, 1000);
  }
  setInterval(age, 1000);
}
