"use strict";
(() => {
  const root = document.documentElement;
  const HANDLE = "X-Launch-Handle";
  let handle = ""; // of a launch whose cookies are blocked; in this memory only, gone with the page
  let stops = []; // what the page that is shown has running
  let isOver = false;
  const rows = () => [...document.querySelectorAll(".rows .row")];
  const say = (text) => { const live = document.getElementById("live"); if (!live) return; live.textContent = ""; setTimeout(() => { live.textContent = text; }, 50); };
  const ask = (address, options = {}) => fetch(address, {
    credentials: "same-origin", cache: "no-store", ...options,
    headers: { ...(options.headers || {}), ...(handle ? { [HANDLE]: handle } : {}) },
  });
  const form = (values) => new URLSearchParams({ csrf: root.dataset.csrf || "", ...values });

  // Where storage is closed to frames, one page remembers for the next in its memory.
  const kept = {};
  const keep = (name, value) => { kept[name] = value; try { sessionStorage.setItem(name, value); } catch { /* closed */ } };
  const took = (name) => {
    let found = kept[name] ?? null;
    delete kept[name];
    try { found = sessionStorage.getItem(name) ?? found; sessionStorage.removeItem(name); } catch { /* closed */ }
    return found;
  };

  // Without cookies: pages are asked for with the handle and put in the place of the one that is shown.
  const show = (text, address, isNew) => {
    const parsed = new DOMParser().parseFromString(text, "text/html");
    stops.forEach((stop) => stop());
    stops = [];
    root.getAttributeNames().forEach((name) => root.removeAttribute(name));
    for (const { name, value } of parsed.documentElement.attributes) root.setAttribute(name, value);
    document.title = parsed.title;
    if (!root.dataset.session) handle = "";
    document.body.replaceWith(document.adoptNode(parsed.body));
    if (isNew) history.pushState(null, "", address); else history.replaceState(null, "", address);
    begin();
    const target = new URL(address, location.href).hash.slice(1);
    const at = target && document.getElementById(target);
    if (at) at.scrollIntoView(); else scrollTo(0, 0);
    if (document.activeElement === document.body) document.getElementById("main")?.focus({ preventScroll: true });
  };
  const visit = async (address, { method = "GET", body = null, isNew = true } = {}) => {
    if (isOver) return;
    const hash = new URL(address, location.href).hash;
    root.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(address, { method, body });
      const kind = answer.headers.get("Content-Type") || "";
      if (kind.startsWith("text/html")) { show(await answer.text(), answer.redirected ? answer.url : answer.url + hash, isNew); return; }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "")?.[1] || "download";
      link.click();
      URL.revokeObjectURL(link.href);
    } catch {
      say("That did not work: the tracker cannot be reached. Try again.");
      document.querySelectorAll("form[data-sent]").forEach((one) => delete one.dataset.sent);
    } finally { root.removeAttribute("aria-busy"); }
  };
  const go = (address) => { if (handle) visit(address); else location.href = address; };
  document.addEventListener("click", (event) => {
    if (!handle || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.target || link.origin !== location.origin || link.download) return;
    if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
    event.preventDefault();
    visit(link.href);
  });
  addEventListener("popstate", () => { if (handle) visit(location.href, { isNew: false }); });
  const arrive = async () => {
    const { page, probe } = root.dataset;
    const given = document.querySelector("meta[name=tracker-handle]");
    if (!given || !page) return;
    const text = given.content;
    given.remove();
    const answer = await ask(probe).catch(() => null);
    if (answer?.ok) { location.replace(page); return; }
    if (self.origin === "null") {
      const told = document.createElement("p");
      told.setAttribute("role", "alert");
      told.textContent = "The EHR shows this frame in a sandbox without an origin, in which no form can be sent. Tell your administrator: its sandbox needs allow-same-origin.";
      document.querySelector("h1").textContent = "The tracker cannot work in this frame";
      document.getElementById("main").append(told);
      return;
    }
    handle = text;
    visit(page, { isNew: false });
  };

  const here = () => {
    const row = document.activeElement?.closest?.(".row");
    return row ? rows().indexOf(row) : -1;
  };
  const goTo = (index) => {
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
    j: () => goTo(here() + 1),
    ArrowDown: () => goTo(here() + 1),
    k: () => goTo(here() < 0 ? 0 : here() - 1),
    ArrowUp: () => goTo(here() < 0 ? 0 : here() - 1),
    Enter: () => press(".open"),
    a: () => press(".c-action button, .c-action .button"),
    "/": () => document.querySelector("input[type=search]")?.focus(),
    r: () => document.querySelector("#news:not([hidden]) a")?.click(),
    "?": () => { if (root.dataset.help) go(root.dataset.help); },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const at = event.target;
    if (at.closest?.("dialog")) return;
    if (at.closest?.("input, select, textarea")) {
      if (event.key === "Escape") at.blur();
      return;
    }
    if (event.key === "Escape") { document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); }); return; }
    const arrow = event.key.startsWith("Arrow");
    if (root.dataset.keys === "off" && event.key !== "Enter" && !arrow) return;
    if ((event.key === "Enter" || arrow) && !at.classList?.contains("row")) return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  const MARK = "row";
  document.addEventListener("submit", (event) => {
    const sent = event.target;
    const row = sent.closest(".row");
    if (row) keep(MARK, String(rows().indexOf(row)));
    if (sent.dataset.sent) { event.preventDefault(); return; }
    if (sent.method === "post") sent.dataset.sent = "1";
    if (!handle) return;
    event.preventDefault();
    const address = event.submitter?.getAttribute("formaction") ? event.submitter.formAction : sent.action;
    const fields = new URLSearchParams(new FormData(sent, event.submitter));
    if (sent.method === "post") visit(address, { method: "POST", body: fields });
    else visit(`${address.split(/[?#]/)[0]}?${fields}`);
  });
  const forget = () => {
    stops.forEach((stop) => stop());
    stops = [];
    document.body.replaceChildren();
  };
  addEventListener("pagehide", (event) => { if (event.persisted && root.dataset.session) forget(); });
  addEventListener("pageshow", (event) => {
    document.querySelectorAll("form[data-sent]").forEach((one) => delete one.dataset.sent);
    if (event.persisted && root.dataset.session) { if (handle) visit(location.href, { isNew: false }); else location.reload(); }
  });

  // The end of a session: a warning that can be answered, then a cover over a page that holds nothing any more.
  const TOLD_EVERY = 60000;
  const cover = () => {
    isOver = true;
    handle = "";
    forget();
    Object.keys(root.dataset).forEach((name) => delete root.dataset[name]);
    document.title = "Logged off · fhir-tracker";
    const told = document.createElement("main");
    told.id = "main";
    told.tabIndex = -1;
    const head = document.createElement("h1");
    head.textContent = "You are logged off";
    const text = document.createElement("p");
    text.textContent = "This session has ended: nobody did anything for a while, or it was ended elsewhere. To go on, open the tracker again from the chart.";
    text.setAttribute("role", "alert");
    told.append(head, text);
    document.body.className = "outside";
    document.body.append(told);
    told.focus();
  };
  const words = (seconds) => (seconds > 90 ? `${Math.round(seconds / 60)} minutes` : `${Math.max(0, Math.round(seconds))} seconds`);
  const watch = () => {
    const { left, warn, session, stay } = root.dataset;
    if (!session) return;
    const dialog = document.getElementById("idle");
    const shown = document.getElementById("idle-left");
    let ends = Date.now() + Number(left) * 1000;
    let told = Date.now(), isAsking = false, lastAsked = 0;
    const take = async (answer) => {
      if (answer.status === 401) { cover(); return 0; }
      const seconds = answer.ok ? (await answer.json()).left : (ends - Date.now()) / 1000;
      ends = Date.now() + seconds * 1000;
      return seconds;
    };
    const close = () => { if (dialog.open) dialog.close(); };
    const remain = async () => {
      told = Date.now();
      try { if (await take(await ask(stay, { method: "POST", body: form({}) })) > Number(warn)) close(); } catch { /* the clock goes on */ }
    };
    const tick = async () => {
      const seconds = (ends - Date.now()) / 1000;
      if (seconds > Number(warn)) { close(); return; }
      shown.textContent = words(seconds);
      if (!isAsking && (seconds <= 0 || !dialog.open) && Date.now() - lastAsked > 1000) {
        isAsking = true;
        lastAsked = Date.now();
        let really = seconds;
        try { really = await take(await ask(session)); } catch { /* what the page knows has to do */ }
        isAsking = false;
        if (isOver) return;
        if (really <= 0) { cover(); return; }
        if (really <= Number(warn) && !dialog.open) { dialog.showModal(); document.getElementById("idle-stay").focus(); }
      }
    };
    const active = (event) => {
      if (event.isTrusted && !dialog.open && Date.now() - told > TOLD_EVERY) remain();
    };
    const timer = setInterval(tick, 1000);
    document.getElementById("idle-stay").addEventListener("click", remain);
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); remain(); });
    for (const kind of ["keydown", "pointerdown", "input"]) document.addEventListener(kind, active, true);
    document.addEventListener("visibilitychange", tick);
    stops.push(() => {
      clearInterval(timer);
      for (const kind of ["keydown", "pointerdown", "input"]) document.removeEventListener(kind, active, true);
      document.removeEventListener("visibilitychange", tick);
    });
  };
  const offerTab = () => {
    const button = document.getElementById("tab");
    if (!button || window === window.top) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const tab = open("", "_blank");
      if (!tab) { say("This browser does not let a frame open a tab."); return; }
      tab.opener = null;
      try {
        const answer = await ask(root.dataset.tickets, { method: "POST", body: form({ page: root.dataset.here }) });
        if (!answer.ok) throw new Error("refused");
        tab.location.replace(new URL((await answer.json()).address, location.href));
      } catch { tab.close(); say("No tab could be opened. Try again."); }
    });
  };

  const poll = () => {
    const list = document.getElementById("rows");
    const news = document.getElementById("news");
    if (!list?.dataset.pulse || !news) return;
    const EVERY = 4000, SLOWEST = 60000;
    let wait = EVERY, timer = 0, isAsking = false, etag = "", told = "", isStopped = false;
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
      if (isAsking || isStopped) return;
      clearTimeout(timer);
      if (!document.hidden) {
        isAsking = true;
        try {
          const answer = await ask(list.dataset.pulse, { headers: etag ? { "If-None-Match": etag } : {}, signal: AbortSignal.timeout(SLOWEST) });
          if (isStopped) return;
          if (answer.status === 401) { cover(); return; }
          if (answer.status === 200) { etag = answer.headers.get("ETag") || ""; compare(await answer.json()); }
          wait = answer.ok || answer.status === 304 ? EVERY : Math.min(wait * 2, SLOWEST);
        } catch { wait = Math.min(wait * 2, SLOWEST); }
        isAsking = false;
      }
      if (!isStopped) timer = setTimeout(look, wait);
    };
    const again = () => { if (!document.hidden) { wait = EVERY; look(); } };
    timer = setTimeout(look, wait);
    document.addEventListener("visibilitychange", again);
    stops.push(() => { isStopped = true; clearTimeout(timer); document.removeEventListener("visibilitychange", again); });
  };

  const begin = () => {
    const mark = took(MARK);
    if (mark !== null) goTo(Number(mark));
    const first = document.querySelector("[aria-invalid=true]") || document.querySelector("#form input:not([type=hidden]), #form select, #form textarea");
    first?.focus();
    const again = () => { if (document.activeElement === document.body) first?.focus(); };
    if (document.readyState === "complete") setTimeout(again, 0);
    else addEventListener("load", () => setTimeout(again, 0)); // going to #form takes the focus away again
    poll();
    watch();
    offerTab();
  };
  begin();
  arrive();
})();
