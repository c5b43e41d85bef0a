"use strict";
(() => {
  const rows = () => [...document.querySelectorAll(".rows .row")];
  const live = document.getElementById("live");
  const keysOn = document.documentElement.dataset.keys !== "off";
  const say = (text) => { live.textContent = ""; setTimeout(() => { live.textContent = text; }, 50); };

  const here = () => {
    const row = document.activeElement?.closest?.(".row");
    return row ? rows().indexOf(row) : -1;
  };
  const go = (index) => {
    const all = rows();
    if (!all.length) return;
    const row = all[Math.max(0, Math.min(index, all.length - 1))];
    row.tabIndex = -1;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  };
  const press = (selector) => {
    const row = rows()[here()];
    row?.querySelector(selector)?.click();
  };
  const keys = {
    j: () => go(here() + 1),
    ArrowDown: () => go(here() + 1),
    k: () => go(here() < 0 ? 0 : here() - 1),
    ArrowUp: () => go(here() < 0 ? 0 : here() - 1),
    Enter: () => press(".open"),
    a: () => press(".c-action button, .c-action .button"),
    "/": () => document.querySelector("input[type=search]")?.focus(),
    r: () => document.querySelector("#news:not([hidden]) a")?.click(),
    "?": () => { location.href = "/help/keys"; },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const at = event.target;
    if (at.closest?.("input, select, textarea")) {
      if (event.key === "Escape") at.blur();
      return;
    }
    if (event.key === "Escape") { document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); }); return; }
    const arrow = event.key.startsWith("Arrow");
    if (!keysOn && event.key !== "Enter" && !arrow) return;
    if ((event.key === "Enter" || arrow) && !at.classList?.contains("row")) return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  const MARK = "row";
  document.addEventListener("submit", (event) => {
    const row = event.target.closest(".row");
    if (row) sessionStorage.setItem(MARK, String(rows().indexOf(row)));
    if (event.target.dataset.sent) { event.preventDefault(); return; }
    if (event.target.method === "post") event.target.dataset.sent = "1";
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
  const mark = sessionStorage.getItem(MARK);
  if (mark !== null) { sessionStorage.removeItem(MARK); go(Number(mark)); }
  const first = document.querySelector("[aria-invalid=true]") || document.querySelector("#form input:not([type=hidden]), #form select, #form textarea");
  const begin = () => { if (document.activeElement === document.body) first?.focus(); };
  first?.focus();
  addEventListener("load", () => setTimeout(begin, 0)); // going to #form takes the focus away again

  const list = document.getElementById("rows");
  const news = document.getElementById("news");
  if (list?.dataset.pulse && news) {
    const EVERY = 4000, SLOWEST = 60000;
    let wait = EVERY, timer = 0, isAsking = false, etag = "", told = "";
    const seen = new Map(rows().map((row) => [row.dataset.key, row.dataset.digest]));
    const plural = (n, word) => `${n} ${word}`;
    const compare = (pulse) => {
      const entries = Object.entries(pulse.rows);
      const fresh = entries.filter(([key]) => !seen.has(key)).length;
      const changed = entries.filter(([key, digest]) => seen.has(key) && seen.get(key) !== digest).length;
      const gone = pulse.whole ? [...seen.keys()].filter((key) => !(key in pulse.rows)).length : 0;
      const parts = [fresh && plural(fresh, "new"), changed && plural(changed, "changed"), gone && plural(gone, "gone")].filter(Boolean);
      const text = parts.join(", ");
      news.hidden = !text;
      news.querySelector("span").textContent = text;
      if (text && text !== told) say(`${text} in this queue. Press r to show.`);
      told = text;
    };
    const look = async () => {
      if (isAsking) return;
      clearTimeout(timer);
      if (!document.hidden) {
        isAsking = true;
        try {
          const answer = await fetch(list.dataset.pulse, { headers: etag ? { "If-None-Match": etag } : {}, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(SLOWEST) });
          if (answer.status === 200) { etag = answer.headers.get("ETag") || ""; compare(await answer.json()); }
          wait = answer.ok || answer.status === 304 ? EVERY : Math.min(wait * 2, SLOWEST);
        } catch { wait = Math.min(wait * 2, SLOWEST); }
        isAsking = false;
      }
      timer = setTimeout(look, wait);
    };
    timer = setTimeout(look, wait);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { wait = EVERY; look(); } });
  }
})();
