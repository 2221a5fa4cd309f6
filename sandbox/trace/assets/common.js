"use strict";
// Every text of a trace becomes a text node here; nothing becomes markup.
const data = JSON.parse(document.getElementById("data").textContent);
function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "on") for (const [name, fn] of Object.entries(value)) node.addEventListener(name, fn);
    else if (key === "style") for (const [name, v] of Object.entries(value)) node.style.setProperty(name, v);
    else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}
const NS = "http://www.w3.org/2000/svg";
function svgEl(tag, props) {
  const node = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  return node;
}
const seconds = (s) => s < 0.9995 ? `${Math.round(s * 1000)} ms` : `${s.toFixed(s < 10 ? 2 : 1)} s`;
function copyButton(text) {
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", () => {
    const area = el("textarea", { style: { position: "fixed", opacity: "0" } });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");  // navigator.clipboard is not there for file: URLs
    area.remove();
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1200);
  });
  return button;
}
const root = document.documentElement;
function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
function toggleTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("sandbox-theme", root.dataset.theme); } catch { /* not for file: URLs everywhere */ }
  document.dispatchEvent(new Event("theme"));
}
try { const kept = localStorage.getItem("sandbox-theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch { /* as above */ }
const themeButton = () => el("button", { type: "button", id: "theme", title: "Light or dark (t)", on: { click: toggleTheme } }, "◐");
const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const app = document.getElementById("app");
