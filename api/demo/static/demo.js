"use strict";
const PHASES = {
  loading: "The tracker is reading the EHR for the first time ...",
  running: "The day is running: watch the queue on the right.",
  over: "The day is over. Everything stays open until you stop the demo.",
};
const MARKS = { waiting: "…", seen: "✓", missed: "✗" };
const made = (name, attributes, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const clock = (moment) => new Date(moment).toLocaleTimeString();
const sight = (one) => made("li", { class: "sight", "data-state": one.state },
  made("span", { class: "mark", "aria-hidden": "true" }, MARKS[one.state]),
  made("span", {}, one.title, one.state === "seen" ? ` (after ${one.after.toFixed(1)} s)` : one.state === "missed" ? " (not seen)" : ""));
const step = (one) => made("li", { class: "step", "data-state": one.state },
  made("div", { class: "title" }, made("span", {}, one.title), made("time", {}, one.at ? clock(one.at) : `at ${Math.round(one.planned_for)} s`)),
  made("div", {}, made("a", { href: one.page, target: "tracker" }, one.patient), ` ${one.why}`),
  ...(one.call ? [made("div", { class: "call" }, one.call)] : []),
  made("ul", {}, ...one.sights.map(sight)));
const recent = (one) => made("li", {}, made("span", {}, one.text), made("time", {}, clock(one.at)));
const fill = (id, elements) => {
  const target = document.getElementById(id);
  const next = made(target.tagName, {}, ...elements);
  if (target.innerHTML !== next.innerHTML) target.replaceChildren(...next.childNodes);
};
const news = (state) => `${state.phase === "loading"} ${state.steps.flatMap((one) => one.sights).filter((one) => one.state === "seen").length}`;
let known = "";
const follow = (state) => {
  const frame = document.querySelector("iframe");
  const isQueue = frame.contentWindow.location.pathname === "/";
  if (known && known !== news(state) && isQueue && document.activeElement !== frame) frame.contentWindow.location.reload();
  known = news(state);
};
const refresh = async () => {
  try {
    const answer = await fetch("/demo/state.json", { cache: "no-store" });
    const state = await answer.json();
    document.getElementById("phase").textContent = PHASES[state.phase];
    fill("steps", state.steps.map(step));
    fill("recent", state.recent.map(recent));
    follow(state);
  } catch {
    document.getElementById("phase").textContent = "The demo has stopped.";
  }
};
const loop = async () => {
  if (!document.hidden) await refresh();
  setTimeout(loop, 1000);
};
loop();
