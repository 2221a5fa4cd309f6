// The run's index: what failed first, each with a link to its report.
const tests = data.tests;
const failed = tests.filter((t) => t.outcome === "failed").length;
const body = el("tbody");
for (const test of tests) {
  body.append(el("tr", { "data-text": `${test.name} ${test.what} ${test.cause} ${test.outcome}`.toLowerCase(), "data-outcome": test.outcome },
    el("td", {}, el("span", { class: `badge ${test.outcome}` }, test.outcome)),
    el("td", {}, test.report ? el("a", { href: test.report }, test.name) : test.name, test.what ? el("div", { class: "why" }, test.what) : null, test.cause ? el("div", { class: "why" }, el("b", {}, "likely cause  "), test.cause) : null),
    el("td", { class: "num" }, seconds(test.seconds))));
}
const search = el("input", { type: "search", id: "filter", placeholder: "Filter  ( / )", "aria-label": "Filter the tests" });
const only = el("button", { type: "button", class: "chip", id: "only-failed", "aria-pressed": "false" }, "failed only");
const count = el("span", { class: "dim" });
function apply() {
  const text = search.value.toLowerCase(), failing = only.getAttribute("aria-pressed") === "true";
  let shown = 0;
  for (const row of body.children) {
    row.hidden = !row.dataset.text.includes(text) || (failing && row.dataset.outcome !== "failed");
    shown += !row.hidden;
  }
  count.textContent = shown === tests.length ? "" : `${shown} of ${tests.length}`;
}
search.addEventListener("input", apply);
only.addEventListener("click", () => { only.setAttribute("aria-pressed", only.getAttribute("aria-pressed") !== "true"); apply(); });
document.addEventListener("keydown", (e) => {
  if (e.target.tagName === "INPUT") { if (e.key === "Escape") e.target.blur(); return; }
  if (e.key === "/") { e.preventDefault(); search.focus(); }
  if (e.key === "t") toggleTheme();
});
app.append(el("div", { class: "frame" }, el("main", {},
  el("section", { class: "head" },
    el("div", { class: "row" }, el("h1", {}, failed ? `${failed} of ${tests.length} failed` : `${tests.length} passed`), el("span", { class: "right" }, themeButton())),
    el("div", { class: "facts" }, el("span", {}, "SIP service ", el("b", {}, data.sip_service)), el("span", {}, "engine ", el("b", {}, data.engine)), el("span", {}, "finished ", el("b", {}, new Date(data.finished * 1000).toLocaleString())))),
  el("section", {}, el("div", { class: "card index" }, el("div", { class: "tools row" }, search, only, count),
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "outcome"), el("th", {}, "test"), el("th", { class: "num" }, "time"))), body)))))));
