"use strict";
const PHASES = {
  loading: "The tracker is reading the EHR for the first time ...",
  running: "The day is running.",
  over: "The day is over. Everything stays open until you stop the demo.",
};
const MARKS = { waiting: "…", seen: "✓", missed: "✗" };
const QUEUES = { id: "", name: "Work queues", about: "no chart: what your role has to do" };
const byId = (id) => document.getElementById(id);
const made = (name, attributes, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

const open = [];
let count = 0;
const chosen = () => open.find((one) => one.tab.getAttribute("aria-selected") === "true");
const choose = (wanted) => {
  for (const one of open) {
    one.tab.setAttribute("aria-selected", one === wanted);
    one.tab.tabIndex = one === wanted ? 0 : -1;
    one.panel.hidden = one !== wanted;
  }
};
const launch = async (one, given) => {
  const body = new URLSearchParams({ ...given, patient: one.chart.id });
  const answer = await fetch("/ehr/launch", { method: "POST", body });
  if (!answer.ok) { location.reload(); return; }
  const { address } = await answer.json();
  const title = one.chart.id ? `Care plan tracker, chart of ${one.chart.name}` : "Care plan tracker, work queues";
  one.panel.querySelector(".stage").replaceChildren(made("iframe", { src: address, title }));
};
const show = (one, chart) => {
  one.chart = chart;
  one.label.textContent = chart.name;
  one.panel.querySelector("[data-name]").textContent = chart.name;
  one.panel.querySelector("[data-about]").textContent = chart.about;
  one.panel.querySelector(".stage").replaceChildren(made("p", { class: "empty" }, "The app opens here."));
};
const close = (one) => {
  const place = open.indexOf(one);
  open.splice(place, 1);
  one.tab.parentElement.remove();
  one.panel.remove();
  choose(open[Math.max(0, place - 1)]);
};
const add = (chart) => {
  count += 1;
  const panel = byId("panel").content.firstElementChild.cloneNode(true);
  const label = made("span", {});
  const tab = made("button", { type: "button", role: "tab", id: `tab-${count}`, "aria-controls": `panel-${count}` }, label);
  const one = { tab, label, panel, chart };
  panel.id = `panel-${count}`;
  panel.setAttribute("aria-labelledby", tab.id);
  const holder = made("span", { class: "tab" }, tab);
  if (chart.id) {
    const end = made("button", { type: "button", "aria-label": `Close ${chart.name}` }, "×");
    end.addEventListener("click", () => close(one));
    holder.append(end);
  }
  tab.addEventListener("click", () => choose(one));
  panel.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    launch(one, { app: event.submitter.value, intent: form.get("intent"), item: form.get("item") });
  });
  open.push(one);
  byId("tabs").append(holder);
  byId("panels").append(panel);
  show(one, chart);
  choose(one);
  return one;
};
const chartOf = (button) => ({
  id: button.dataset.chart,
  name: button.dataset.name,
  about: [button.dataset.born, button.dataset.sex, button.dataset.number].filter(Boolean).join(" · "),
});
const openChart = (chart) => {
  const here = chosen();
  const known = open.find((one) => one.chart.id === chart.id);
  if (byId("same").checked && here && here.chart.id) show(here, chart);
  else if (known) choose(known);
  else add(chart);
};
byId("charts").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) openChart(chartOf(button));
});
byId("find").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const item of byId("charts").children) item.hidden = !item.textContent.toLowerCase().includes(wanted);
});
byId("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = open[(open.indexOf(chosen()) + step + open.length) % open.length];
  choose(next);
  next.tab.focus();
});

const clock = (moment) => new Date(moment).toLocaleTimeString();
const sight = (one) => made("li", { class: "sight", "data-state": one.state },
  made("span", { class: "mark", "aria-hidden": "true" }, MARKS[one.state]),
  made("span", {}, one.title, one.state === "seen" ? ` (after ${one.after.toFixed(1)} s)` : one.state === "missed" ? " (not seen)" : ""));
const opener = (one) => {
  const button = made("button", { type: "button", class: "link" }, one.patient);
  button.addEventListener("click", () => byId("charts").querySelector(`[data-chart="${CSS.escape(one.chart)}"]`)?.click());
  return button;
};
const step = (one) => made("li", { class: "step", "data-state": one.state },
  made("div", { class: "title" }, made("span", {}, one.title), made("time", {}, one.at ? clock(one.at) : `at ${Math.round(one.planned_for)} s`)),
  made("div", {}, opener(one), ` ${one.why}`),
  ...(one.call ? [made("div", { class: "call" }, one.call)] : []),
  made("ul", {}, ...one.sights.map(sight)));
const recent = (one) => made("li", {}, made("span", {}, one.text), made("time", {}, clock(one.at)));
let told = "";
const refresh = async () => {
  const answer = await fetch("/ehr/day.json", { cache: "no-store" });
  const text = await answer.text();
  if (text === told) return;
  told = text;
  const day = JSON.parse(text);
  byId("day").hidden = !day.steps;
  if (!day.steps) return;
  byId("phase").textContent = PHASES[day.phase];
  byId("steps").replaceChildren(...day.steps.map(step));
  byId("recent").replaceChildren(...day.recent.map(recent));
};
const loop = async () => {
  try {
    if (!document.hidden) await refresh();
  } catch {
    byId("phase").textContent = "The demo has stopped.";
  }
  setTimeout(loop, 1000);
};
add(QUEUES);
loop();
