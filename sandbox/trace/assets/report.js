// One test's report. `data` is trace.json with the audio and the ladders' SVG added.
const { test, verdict, run, calls, events } = data;
const origin = events.length ? Math.min(test.started, events[0].at) : test.started;
const rel = (at) => (at - origin >= 0 ? "+" : "") + (at - origin).toFixed(3);
const SOURCES = ["test", "fault", "api", "phone", "sip", "server", "webhook", "room", "agent", "stack"];
// Those two speak through their logs alone.
const LABELS = { sip: "sip log", server: "server log" };
const labelOf = (source) => LABELS[source] || source;
const sourceOf = (e) => SOURCES.includes(e.source) ? e.source : "stack";
const isLog = (e) => e.name.startsWith("log.");
const isDebug = (e) => e.name === "log.debug";
const isSip = (e) => e.name === "sip.sent" || e.name === "sip.received";

// --- words for an event -----------------------------------------------------------------------
const short = (v, most = 90) => {
  const text = v === null || v === undefined ? "" : typeof v === "object" ? JSON.stringify(v) : String(v);
  return text.length > most ? text.slice(0, most - 1) + "…" : text;
};
// What nearly every line of the Go programs has, and the joined calls say already.
const DULL = new Set(["logger", "caller", "callID", "sipCallID", "fromUser", "toUser", "fromHost", "source", "transport", "trunkID", "ruleID", "room", "roomID", "participantID", "participantName", "nodeID", "traceID", "toHost", "direction", "sipTrunk", "sipRule", "jitterBuf", "fromIP", "toIP", "sipTag", "reqHost", "reqUser", "remote", "id", "webhookTime", "url", "queueDuration", "qLen", "sendDuration", "statusCode", "name", "pid", "tid", "code.file.path", "code.function.name", "code.line.number"]);
function describe(e) {
  const d = e.data;
  if (isSip(e)) return short(String(d.raw || "").split("\r\n")[0].replace(/ SIP\/2\.0$/, "").replace(/^SIP\/2\.0 /, ""), 140) + (sipMethod(e) ? `  (${sipMethod(e)})` : "");
  if (e.source === "api") return short(String(d.method || "").split("/").pop() + (e.name === "api.answer" ? `  ${d.http}` : "") + "  " + short(d.message || d.error || "", 120), 170);
  if (e.source === "webhook") {
    const who = d.participant || {};
    return short([who.identity, who.kind && who.kind !== "STANDARD" ? `(${who.kind})` : "", d.room && d.room.name ? `in ${d.room.name}` : "", who.disconnect_reason || ""].filter(Boolean).join("  "), 170);
  }
  if (isLog(e)) return short(`${d.text}  ${Object.entries(d.fields || {}).filter(([k]) => !DULL.has(k)).map(([k, v]) => `${k}=${short(v, 50)}`).join("  ")}`, 220);
  if (e.source === "fault" || e.name === "test.step" || e.name === "test.failed") return String(d.text || "");
  if (d.changed) return `${d.identity || ""}  ${Object.entries(d.changed).map(([k, v]) => `${k}=${v}`).join("  ")}`;
  return short(Object.entries(d).filter(([k, v]) => v !== "" && v !== null && !["line", "agent", "room", "job", "raw"].includes(k)).map(([k, v]) => `${k}=${short(v, 60)}`).join("  "), 190);
}
function sipMethod(e) {
  const raw = String(e.data.raw || "");
  if (!raw.startsWith("SIP/2.0")) return "";
  const found = /^CSeq\s*:\s*\d+\s+(\w+)/im.exec(raw);
  return found ? found[1] : "";
}
const isLoud = (e) => isLog(e) && !e.data.no_fault && /^log\.(warn|error|dpanic|panic|fatal|critical)/.test(e.name);
const isBad = (e) => (isSip(e) && /^SIP\/2\.0 [456]/.test(e.data.raw || "")) || /failed|crashed|died|refused/.test(e.name) || (e.name === "api.answer" && e.data.http !== 200) || ["rtp.gap", "rtp.lost"].includes(e.name) || isLoud(e);

// --- the detail of an event -------------------------------------------------------------------
const frame = el("div", { class: "frame" });
const detailTitle = el("b", { class: "mono" });
const detailBody = el("div", { class: "body", tabindex: "0" });
const detail = el("aside", { "aria-label": "Detail", id: "detail" },
  el("div", { class: "bar" }, detailTitle, el("span", { class: "right" }),
    el("button", { type: "button", id: "earlier", title: "The event before (k)", on: { click: () => move(-1) } }, "↑"),
    el("button", { type: "button", id: "later", title: "The next event (j)", on: { click: () => move(1) } }, "↓"),
    el("button", { type: "button", id: "close", title: "Close (Esc)", on: { click: () => choose(null) } }, "✕")),
  detailBody);
let chosen = null;
function choose(index, { scroll = true } = {}) {
  chosen = index;
  for (const node of document.querySelectorAll(".chosen")) node.classList.remove("chosen");
  frame.classList.toggle("open", index !== null);
  if (index === null) return;
  for (const node of document.querySelectorAll(`[data-event="${index}"]`)) node.classList.add("chosen");
  const row = rows[index];
  if (row && scroll && !row.hidden) keepInView(row);
  showDetail(index);
}
function keepInView(row) {
  const top = row.offsetTop, bottom = top + row.offsetHeight;
  if (top < list.scrollTop) list.scrollTop = top - 40;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight + 40;
}
function showDetail(index) {
  const e = events[index];
  detailTitle.textContent = e.name;
  const meta = el("div", { class: "facts" },
    el("span", {}, "at ", el("b", { class: "mono" }, rel(e.at), " s")), el("span", {}, "seen by ", el("b", {}, e.source)),
    e.calls.length ? el("span", {}, "call ", el("b", {}, e.calls.join(", "))) : null);
  detailBody.replaceChildren(meta, ...(isSip(e) ? sipDetail(index) : isLog(e) ? logDetail(e) : [jsonDetail(e.data)]));
  detailBody.scrollTop = 0;
}
function jsonDetail(value) { return el("pre", { class: "json" }, JSON.stringify(value, null, 2)); }
function logDetail(e) {
  const fields = el("dl", { class: "hdrs" });
  for (const [key, value] of Object.entries(e.data.fields || {})) fields.append(el("dt", {}, key), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value)));
  return [el("div", { class: "dim" }, `${e.data.log}.log  ${e.data.level}`), e.data.no_fault ? el("div", {}, "No fault: ", e.data.no_fault, ".") : null, el("pre", {}, el("b", {}, e.data.text)), fields].filter(Boolean);
}
function sipDetail(index) {
  const e = events[index], raw = String(e.data.raw || "");
  const split = raw.indexOf("\r\n\r\n");
  const head = split < 0 ? raw : raw.slice(0, split), body = split < 0 ? "" : raw.slice(split + 4);
  const [first, ...lines] = head.split("\r\n");
  const headers = el("dl", { class: "hdrs" });
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 0 || /^[ \t]/.test(line)) headers.append(el("dt", {}, ""), el("dd", {}, line));
    else headers.append(el("dt", {}, line.slice(0, colon)), el("dd", {}, line.slice(colon + 1).trim()));
  }
  const way = e.name === "sip.sent" ? ["phone", "→", e.data.peer] : [e.data.peer, "→", "phone"];
  const out = [
    el("div", { class: "row dim" }, `${way.join(" ")}  ${e.data.transport || ""}`, el("span", { class: "right" }), copyButton(raw)),
    el("pre", {}, el("b", {}, first)), headers];
  const sdp = sdpOf(index);
  if (sdp) {
    const lines = el("div", { class: "sdp" });
    for (const [line, mark] of sdp.marks) lines.append(el("div", { class: mark }, line));
    const folded = el("details", { class: "sdp-fold" }, el("summary", {}, `SDP ${sdp.role}, ${sdp.marks.length} lines`), lines);
    if (sdp.other !== null) folded.append(el("p", { class: "legend" }, "~ the other side has it otherwise   ! the other side has it not   ",
      el("button", { type: "button", class: "counterpart", on: { click: () => choose(sdp.other) } }, sdp.role === "offer" ? "Show the answer" : "Show the offer")));
    out.push(folded);
  } else if (body) out.push(el("pre", {}, body));
  out.push(el("details", { class: "raw" }, el("summary", {}, `Raw, ${new TextEncoder().encode(raw).length} bytes`), el("pre", {}, raw)));
  return out;
}
function sdpOf(index) {
  for (const call of calls) if (call.sdp && call.sdp[index]) return call.sdp[index];
  return null;
}

// --- the verdict ------------------------------------------------------------------------------
function verdictCard() {
  const bad = test.outcome === "failed";
  const rows = el("dl");
  const add = (name, ...value) => rows.append(el("dt", {}, name), el("dd", {}, ...value));
  if (bad && verdict.where && verdict.where.file) add("Where", el("code", {}, `${shortPath(verdict.where.file)}:${verdict.where.line}`), el("br"), el("code", { class: "dim" }, verdict.where.text));
  if (bad && verdict.phase && verdict.phase !== "call") add("When", verdict.phase);
  if (verdict.cause) add("Likely cause", verdict.cause);
  if (verdict.fix) add("What to do", el("span", { class: "fix" }, verdict.fix));
  if (verdict.evidence && verdict.evidence.length) add("Shown by", verdict.evidence.map((line) => el("div", { class: "mono evidence" }, line)));
  const card = el("div", { class: `verdict ${test.outcome}` }, el("div", { class: "what" }, bad ? verdict.what : "The test passed."), rows.children.length ? rows : null);
  const fold = (title, text, open) => card.append(el("details", { open }, el("summary", {}, title), el("pre", {}, text)));
  if (verdict.why && verdict.why.length) fold("Trunk by trunk and rule by rule", verdict.why.join("\n"), true);
  if (verdict.seen && verdict.seen.length) fold("What was seen", verdict.seen.join("\n"), false);
  if (verdict.traceback) fold("Traceback", verdict.traceback, false);
  return card;
}
const shortPath = (p) => p.split("/").slice(-3).join("/");

// --- the ladders ------------------------------------------------------------------------------
function callCard(call) {
  const picture = document.importNode(new DOMParser().parseFromString(call.svg, "image/svg+xml").documentElement, true);
  const title = call.outgoing ? `${call.caller || "?"} → ${call.callee || "?"}` : `${call.caller || "?"} → ${call.callee || "?"} (to the phone)`;
  for (const step of picture.querySelectorAll(".step")) {
    step.setAttribute("tabindex", "0");
    step.setAttribute("role", "button");
    step.setAttribute("aria-label", step.querySelector("title").textContent);
    const open = () => choose(Number(step.dataset.event));
    step.addEventListener("click", open);
    step.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); open(); } });
  }
  const ids = [call.sip_call_id && `Call-ID ${call.sip_call_id}`, call.scl, call.room && `room ${call.room}`, call.identity, ...call.jobs].filter(Boolean).join("  ·  ");
  const ms = el("div", { class: "ms" });
  const names = { trying: "100 after", ringing: "180 after", answered: "200 after", first_rtp_sent: "first RTP sent", first_rtp_received: "first RTP received", ended: "ended after" };
  for (const [key, name] of Object.entries(names)) if (typeof call.timings[key] === "number") ms.append(el("span", {}, name + " ", el("b", {}, seconds(call.timings[key]))));
  const links = Object.values({ pcap: call.files.pcap }).filter(Boolean).map((f) => el("a", { href: f }, f));
  ms.append(el("span", { class: "right row" }, ...links, el("a", { href: `call-${call.id}.svg` }, "SVG"), el("a", { href: `call-${call.id}.mmd` }, "Mermaid")));
  return el("div", { class: "card call", id: `call-${call.id}` }, el("div", { class: "bar" }, el("h3", {}, title), el("span", { class: "ids" }, ids)), el("div", { class: "scroll" }, picture), ms);
}

// --- the timeline -----------------------------------------------------------------------------
const endAt = events.findIndex((e) => e.name === "test.ended");
const isLate = (index) => endAt >= 0 && index > endAt;
const state = { sources: new Set(SOURCES), call: "", text: "", sipOnly: false, late: true, logs: true, debug: false };
const rows = [];
const list = el("div", { class: "events", id: "events", role: "listbox", "aria-label": "Events", tabindex: "-1" });
const shownCount = el("span", { class: "dim", id: "shown" });
const search = el("input", { type: "search", id: "filter", placeholder: "Filter  ( / )", "aria-label": "Filter the events" });
const callPick = el("select", { id: "call-pick", "aria-label": "Call" }, el("option", { value: "" }, "all calls"), calls.map((c) => el("option", { value: c.id }, `call ${c.id}`)));
const strip = el("canvas", { class: "strip", id: "strip", "aria-hidden": "true" });
const haystack = events.map((e) => `${e.name} ${JSON.stringify(e.data)}`.toLowerCase());
function fillTimeline() {
  events.forEach((e, index) => {
    const row = el("button", { type: "button", role: "option", tabindex: "-1", "data-event": index,
      class: `ev${e.name === "test.step" ? " testev" : ""}${e.source === "fault" || e.name === "test.failed" ? " faultev" : ""}${isLog(e) ? " logev" : ""}${isLate(index) ? " late" : ""}${isBad(e) ? " badev" : ""}`, style: { "--c": `var(--${sourceOf(e)}, var(--dim))` } },
      el("span", { class: "t" }, rel(e.at)), el("span", { class: "s" }, labelOf(e.source)), el("span", { class: "n" }, e.name), el("span", { class: "x" }, describe(e)));
    rows.push(row);
  });
  list.append(...rows);
  list.addEventListener("click", (e) => { const row = e.target.closest(".ev"); if (row) choose(Number(row.dataset.event), { scroll: false }); });
  if (rows.length) rows[0].tabIndex = 0;
}
function passes(index) {
  const e = events[index];
  return state.sources.has(sourceOf(e)) && (!state.call || e.calls.includes(state.call)) && (!state.sipOnly || isSip(e)) && (state.late || !isLate(index)) && (!isLog(e) || (state.logs && (state.debug || !isDebug(e)))) && (!state.text || haystack[index].includes(state.text));
}
function applyFilters() {
  let shown = 0;
  rows.forEach((row, index) => { const ok = passes(index); if (row.hidden === ok) row.hidden = !ok; shown += ok; });
  shownCount.textContent = shown === rows.length ? `${shown} events` : `${shown} of ${rows.length} events`;
  nothing.hidden = shown > 0;
  drawStrip();
}
const nothing = el("div", { class: "empty", hidden: true }, "No event passes these filters.");
function chip(id, label, pressed, count, colourName, toggle) {
  const button = el("button", { type: "button", class: "chip", id, "aria-pressed": String(pressed), style: colourName ? { "--c": `var(${colourName})` } : {} }, colourName ? el("i") : null, label, count === null ? null : el("span", {}, count));
  button.addEventListener("click", () => { const on = button.getAttribute("aria-pressed") !== "true"; button.setAttribute("aria-pressed", on); toggle(on); applyFilters(); });
  return button;
}
function timelineCard() {
  const chips = SOURCES.map((s) => [s, events.filter((e) => sourceOf(e) === s).length]).filter(([, n]) => n)
    .map(([s, n]) => chip(`source-${s}`, labelOf(s), true, n, `--${s}`, (on) => on ? state.sources.add(s) : state.sources.delete(s)));
  const sip = chip("sip-only", "SIP only", false, null, null, (on) => { state.sipOnly = on; });
  const late = events.some((e, i) => isLate(i)) ? chip("late", "clean-up", true, events.length - 1 - endAt, null, (on) => { state.late = on; }) : null;
  const counted = (test) => events.filter(test).length;
  const logs = counted(isLog) ? chip("logs-too", "log lines", true, counted(isLog), null, (on) => { state.logs = on; }) : null;
  const debug = counted(isDebug) ? chip("debug-too", "debug lines", false, counted(isDebug), null, (on) => { state.debug = on; }) : null;
  search.addEventListener("input", () => { state.text = search.value.toLowerCase(); applyFilters(); });
  callPick.addEventListener("change", () => { state.call = callPick.value; applyFilters(); });
  strip.addEventListener("click", (e) => {
    const box = strip.getBoundingClientRect(), [from, to] = span();
    const at = from + (to - from) * (e.clientX - box.left - 70) / (box.width - 84);
    let best = null;
    events.forEach((ev, i) => { if (passes(i) && (best === null || Math.abs(ev.at - at) < Math.abs(events[best].at - at))) best = i; });
    if (best !== null) choose(best);
  });
  return el("div", { class: "card" }, el("div", { class: "tools row" }, ...chips, sip, logs, debug, late, calls.length > 1 ? callPick : null, search, shownCount), strip, list, nothing);
}
function span() { const from = origin, to = events.length ? events[events.length - 1].at : from + 1; return [from, Math.max(to, from + 0.001)]; }
function canvasFor(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.max(1, width * ratio); canvas.height = Math.max(1, height * ratio);
  const g = canvas.getContext("2d"); g.scale(ratio, ratio); g.clearRect(0, 0, width, height);
  return [g, width, height];
}
function drawStrip() {
  const [g, width, height] = canvasFor(strip);
  if (width < 100) return;
  const lanes = SOURCES.filter((s) => events.some((e) => sourceOf(e) === s)), [from, to] = span();
  const lane = (height - 18) / lanes.length, x = (at) => 70 + (width - 84) * (at - from) / (to - from);
  g.font = "10px system-ui, sans-serif"; g.textBaseline = "middle";
  lanes.forEach((s, i) => {
    const y = 4 + lane * (i + .5);
    g.fillStyle = colour("--faint"); g.textAlign = "right"; g.fillText(labelOf(s), 62, y);
    g.fillStyle = colour("--line-soft"); g.fillRect(70, y, width - 84, 1);
  });
  events.forEach((e, i) => {
    const y = 4 + lane * lanes.indexOf(sourceOf(e)), shown = passes(i);
    g.globalAlpha = shown ? .85 : .12;
    g.fillStyle = colour(isBad(e) ? "--bad" : `--${sourceOf(e)}`) || colour("--dim");
    g.fillRect(x(e.at) - 1, y + 1, 2, lane - 2);
  });
  g.globalAlpha = 1; g.fillStyle = colour("--faint"); g.textAlign = "center";
  const total = to - from, raw = total / 8, unit = 10 ** Math.floor(Math.log10(raw)), tick = [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= raw);
  for (let at = 0; at <= total; at += tick) g.fillText(`${+at.toFixed(3)} s`, x(from + at), height - 7);
}

// --- audio ------------------------------------------------------------------------------------
const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
function wavOf(sound) {  // mu-law (ITU-T G.711) to a 16-bit WAV, which every browser plays
  const coded = bytesOf(sound.mulaw), view = new DataView(new ArrayBuffer(44 + coded.length * 2));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + coded.length * 2, true); word(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, sound.rate, true); view.setUint32(28, sound.rate * 2, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); word(36, "data"); view.setUint32(40, coded.length * 2, true);
  coded.forEach((byte, i) => {
    const u = ~byte & 255, value = ((((u & 15) << 3) + 132) << ((u >> 4) & 7)) - 132;
    view.setInt16(44 + i * 2, u & 128 ? -value : value, true);
  });
  return URL.createObjectURL(new Blob([view], { type: "audio/wav" }));
}
const WORDS = { received: ["speech.heard", "speech.exact", "speech.garbled"], sent: ["speech.says"] };
const ROLES = { received: "assistant", sent: "user" };
const drawings = [];
function trackOf(call, direction) {
  const sound = call.audio[direction];
  const title = direction === "received" ? "Heard by the phone" : "Said by the phone";
  const id = `audio-${call.id}-${direction}`;
  if (!sound.level) return el("div", { class: "track dim" }, `${title}: ${sound.seconds ? `silence, ${seconds(sound.seconds)}` : "nothing"}`);
  const wave = el("canvas", { class: "w" }), spectrum = el("canvas", { class: "sp" }), head = el("div", { class: "head" });
  const audio = el("audio", { preload: "none", id });
  const play = el("button", { type: "button", class: "play", "aria-label": `Play: ${title}` }, "▶");
  const seek = el("input", { type: "range", min: "0", max: String(sound.seconds), step: "0.01", value: "0", "aria-label": "Position" });
  const clock = el("span", { class: "mono dim" }, `0.0 / ${sound.seconds.toFixed(1)} s`);
  const place = (s) => { head.style.left = `${100 * s / sound.seconds}%`; seek.value = s; clock.textContent = `${s.toFixed(1)} / ${sound.seconds.toFixed(1)} s  (${rel(call.audio_at + s)})`; };
  const load = () => { if (!audio.src) audio.src = wavOf(sound); };
  play.addEventListener("click", () => { load(); if (audio.paused) audio.play().catch(() => { clock.textContent = "this browser has no sound"; }); else audio.pause(); });
  audio.addEventListener("play", () => { play.textContent = "❚❚"; follow(); });
  audio.addEventListener("pause", () => { play.textContent = "▶"; });
  audio.addEventListener("timeupdate", () => place(audio.currentTime));
  function follow() { if (!audio.paused) { place(audio.currentTime); requestAnimationFrame(follow); } }
  const go = (s) => { load(); audio.currentTime = s; place(s); };
  seek.addEventListener("input", () => go(Number(seek.value)));
  const box = el("div", { class: "wave" }, wave, spectrum, head);
  box.addEventListener("click", (e) => { const r = box.getBoundingClientRect(); go(sound.seconds * (e.clientX - r.left) / r.width); });
  drawings.push(() => drawWave(wave, sound), () => drawSpectrum(spectrum, sound));
  const said = events.filter((e) => e.source === "phone" && WORDS[direction].includes(e.name) && e.calls.includes(call.id));
  // Where the test did not listen for words itself, those of the agent's history: told when they end.
  const theirs = said.length ? [] : events.filter((e) => e.name === "session.message" && e.data.role === ROLES[direction] && e.calls.includes(call.id));
  const words = theirs.length ? el("div", { class: "words theirs" }, theirs.map((e) => el("span", { title: `By the agent's account, ended by ${rel(e.at)} s: ${e.data.text}`, style: { right: `${Math.max(0, Math.min(96, 100 - 100 * (e.at - call.audio_at) / sound.seconds))}%` } }, String(e.data.text || ""))))
    : said.length ? el("div", { class: "words" }, said.map((e) => el("span", { title: String(e.data.text || ""), style: { left: `${Math.max(0, Math.min(96, 100 * ((e.data.began || e.data.started || e.at) - call.audio_at) / sound.seconds))}%` } }, String(e.data.text || "")))) : null;
  const file = call.files[direction];
  return el("div", { class: "track" }, el("div", { class: "row" }, play, el("b", {}, title), el("span", { class: "dim" }, `${sound.rate / 1000} kHz`), seek, clock, file ? el("a", { href: file }, "WAV") : null, audio), words, box);
}
function drawWave(canvas, sound) {
  const [g, width, height] = canvasFor(canvas), outline = new Int8Array(bytesOf(sound.outline).buffer), n = outline.length / 2;
  const peak = Math.max(12, ...outline.map(Math.abs));
  g.fillStyle = colour("--line-soft"); g.fillRect(0, height / 2, width, 1);
  g.fillStyle = colour("--phone");
  for (let i = 0; i < n; i++) {
    const low = outline[i * 2] / peak, high = outline[i * 2 + 1] / peak, y = height / 2 * (1 - high * .95), h = Math.max(1, height / 2 * .95 * (high - low));
    g.fillRect(i * width / n, y, Math.max(1, width / n), h);
  }
}
function drawSpectrum(canvas, sound) {
  const values = bytesOf(sound.spectrum), { columns, bins } = sound;
  if (!columns) return;
  const small = document.createElement("canvas"); small.width = columns; small.height = bins;
  const g = small.getContext("2d"), image = g.createImageData(columns, bins), dark = isDark();
  for (let x = 0; x < columns; x++) for (let y = 0; y < bins; y++) {
    const v = Math.max(0, values[x * bins + y] / 255 - .25) / .75, at = ((bins - 1 - y) * columns + x) * 4, k = Math.min(1, v * 1.25);
    const ramp = dark ? [[13, 17, 23], [30, 60, 120], [70, 150, 248], [240, 220, 140]] : [[246, 248, 250], [170, 205, 245], [9, 105, 218], [90, 20, 110]];
    const i = Math.min(2, Math.floor(k * 3)), f = k * 3 - i;
    for (let c = 0; c < 3; c++) image.data[at + c] = ramp[i][c] + (ramp[i + 1][c] - ramp[i][c]) * f;
    image.data[at + 3] = 255;
  }
  g.putImageData(image, 0, 0);
  const [target, width, height] = canvasFor(canvas);
  target.drawImage(small, 0, 0, width, height);
  target.font = "10px system-ui, sans-serif"; target.fillStyle = colour("--dim");
  target.fillText(`${sound.rate / 2000} kHz`, 4, 10); target.fillText("0", 4, height - 3);
}

// --- RTP quality ------------------------------------------------------------------------------
function chart(call, direction) {
  const q = call.quality[direction];
  const title = direction === "received" ? "Received" : "Sent";
  if (!q || !q.packets) return el("div", { class: "chart dim" }, `${title}: no RTP`);
  const n = q.packets.length, top = Math.max(...q.packets, 30), worst = Math.max(...q.jitter_ms, 5);
  const picture = svgEl("svg", { viewBox: `0 0 ${n * 10} 100`, preserveAspectRatio: "none", role: "img" });
  picture.append(Object.assign(svgEl("title", {}), { textContent: `${title}: packets each ${q.slot} s, jitter, losses` }));
  q.packets.forEach((count, i) => {
    const bar = svgEl("rect", { class: "bars", x: i * 10 + 1, width: 8, y: 100 - 88 * count / top, height: 88 * count / top });
    bar.append(Object.assign(svgEl("title", {}), { textContent: `${rel(q.start + i * q.slot)} s: ${count} packets, ${q.lost[i]} lost, jitter ${q.jitter_ms[i]} ms, longest pause ${q.pause_ms[i]} ms` }));
    picture.append(bar);
    if (q.lost[i]) picture.append(svgEl("rect", { class: "loss", x: i * 10 + 1, width: 8, y: 0, height: 8 }));
  });
  picture.append(svgEl("polyline", { class: "jit", points: q.jitter_ms.map((j, i) => `${i * 10 + 5},${100 - 80 * j / worst}`).join(" ") }));
  const jitter = q.jitter_ms.filter((j) => j > 0), mean = jitter.length ? jitter.reduce((a, b) => a + b) / jitter.length : 0;
  return el("div", { class: "chart" }, el("div", { class: "facts" }, el("b", {}, title), el("span", {}, "packets ", el("b", {}, q.total)), el("span", {}, "lost ", el("b", {}, q.total_lost)),
    el("span", {}, "jitter ", el("b", {}, `${mean.toFixed(1)} ms`)), el("span", {}, "longest pause ", el("b", {}, `${Math.max(...q.pause_ms).toFixed(0)} ms`)), el("span", { class: "faint" }, `from ${rel(q.start)} s, bars of ${q.slot} s; line: jitter, up to ${worst.toFixed(0)} ms`)), picture);
}

// --- attributes, logs, the run ----------------------------------------------------------------
function attributesCard() {
  const body = el("tbody");
  let step = "";
  for (const c of data.attributes) {
    if (c.step !== step) { step = c.step; body.append(el("tr", { class: "stepname" }, el("td", { colspan: 5 }, step))); }
    body.append(el("tr", {}, el("td", { class: "num" }, el("a", { href: "#timeline", on: { click: () => choose(c.event) } }, rel(c.at))), el("td", {}, c.identity), el("td", { class: "mono" }, c.key),
      el("td", { class: "mono" }, c.before === null ? null : el("span", { class: "was" }, c.before), c.before === null ? null : " ", c.after === null ? el("span", { class: "dim" }, "removed") : el("span", { class: "is" }, c.after)), el("td", { class: "dim" }, c.by)));
  }
  return el("div", { class: "card scroll" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { class: "num" }, "s"), el("th", {}, "participant"), el("th", {}, "attribute"), el("th", {}, "before and after"), el("th", {}, "seen by"))), body));
}
function logsCard() {
  // A line that is on the timeline too is kept there, and leads to it.
  const lines = Object.fromEntries(Object.entries(data.logs).map(([name, all]) => [name, all.map((l) => l.event === undefined ? l : { ...events[l.event].data, at: events[l.event].at, event: l.event })]));
  const whole = (l) => [l.text, ...Object.entries(l.fields || {}).filter(([k]) => k !== "logger" && k !== "caller" && !k.startsWith("code.")).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`)].join("  ");
  const names = Object.keys(lines), view = el("div", { class: "log", tabindex: "0" });
  const find = el("input", { type: "search", id: "log-filter", placeholder: "Filter the lines", "aria-label": "Filter the log lines" });
  let current = names[0];
  function show() {
    const text = find.value.toLowerCase();
    view.replaceChildren(...lines[current].map((l) => [l, whole(l)]).filter(([, t]) => t.toLowerCase().includes(text)).map(([l, t]) => el("div", { class: l.no_fault ? "debug" : l.level, title: l.no_fault ? `No fault: ${l.no_fault}` : null, "data-event": l.event }, l.at ? el("time", {}, rel(l.at)) : null, l.level && l.level !== "info" ? `${l.level.toUpperCase()}  ` : "", t)));
    for (const tab of tabs.children) tab.setAttribute("aria-selected", tab.dataset.name === current);
  }
  const tabs = el("div", { class: "tabs", role: "tablist" }, names.map((name) => el("button", { type: "button", role: "tab", "data-name": name, on: { click: () => { current = name; show(); } } }, `${name} `, el("span", { class: "faint" }, lines[name].length))));
  view.addEventListener("click", (e) => { const line = e.target.closest("[data-event]"); if (line && !String(getSelection())) choose(Number(line.dataset.event)); });
  find.addEventListener("input", show);
  show();
  return el("div", { class: "card" }, el("div", { class: "tools row" }, tabs, find), view);
}
function runCard() {
  const table = (pairs) => el("table", {}, el("tbody", {}, pairs.map(([k, v]) => el("tr", {}, el("td", { class: "dim" }, k), el("td", { class: "mono" }, v)))));
  const files = ["trace.json", ...calls.flatMap((c) => [...Object.values(c.files), `call-${c.id}.svg`, `call-${c.id}.mmd`])];
  return [el("div", { class: "card" }, el("div", { class: "cmd" }, el("code", { id: "command" }, run.command), copyButton(run.command)),
    table([["SIP service", run.sip_service], ["engine", run.engine], ...Object.entries(run.versions), ["platform", run.platform], ["test", `${test.file}:${test.line}`], ["logs of the run", run.logs]])),
  el("p", { class: "dim" }, "Files beside this page: ", files.map((f, i) => [i ? ", " : "", el("a", { href: f }, f)]))];
}

// --- the page ---------------------------------------------------------------------------------
const section = (id, title, note, ...content) => el("section", { id }, el("h2", {}, title, note ? el("small", {}, note) : null), ...content);
fillTimeline();
const withAudio = calls.filter((c) => Object.keys(c.audio).length), withRtp = calls.filter((c) => c.quality.received.packets || c.quality.sent.packets);
const parts = [["verdict", "Verdict"], ["calls", "Ladder"], ["timeline", "Timeline"], withAudio.length ? ["audio", "Audio"] : null, withRtp.length ? ["rtp", "RTP"] : null, data.attributes.length ? ["attributes", "Attributes"] : null, Object.keys(data.logs).length ? ["logs", "Logs"] : null, ["run", "Run"]].filter(Boolean);
const help = el("dialog", { id: "help" }, el("h2", {}, "Keys"), el("dl", {}, [["j  k", "next, earlier event"], ["Enter", "open what is focused"], ["Esc", "close"], ["/", "filter the timeline"], ["1 … 8", "go to a section"], ["t", "light or dark"], ["?", "this list"]].flatMap(([k, v]) => [el("dt", {}, el("kbd", {}, k)), el("dd", {}, v)])), el("form", { method: "dialog" }, el("button", { id: "help-close" }, "Close")));
const nav = el("nav", { "aria-label": "Sections" }, parts.map(([id, name]) => el("a", { href: `#${id}` }, name)));
const joined = (part, of, empty) => of.length ? of.map(part) : el("div", { class: "card empty" }, empty);
const labelled = (call, ...content) => el("div", { class: "card call" }, el("div", { class: "bar" }, el("h3", {}, `call ${call.id}`), call.stats.codec ? el("span", { class: "dim" }, call.stats.codec) : null), ...content);
frame.append(el("main", {},
  el("section", { class: "head" }, el("h1", {}, test.name), test.doc ? el("p", {}, test.doc) : null,
    el("div", { class: "facts" }, el("span", {}, "took ", el("b", {}, seconds(test.seconds))), el("span", {}, "began ", el("b", {}, new Date(test.started * 1000).toLocaleString())), el("span", {}, "SIP service ", el("b", {}, run.sip_service)), el("span", {}, "livekit-server ", el("b", {}, run.versions["livekit-server"])), el("span", {}, "engine ", el("b", {}, run.engine)))),
  section("verdict", "Verdict", "", verdictCard()),
  section("calls", calls.length > 1 ? "Ladders" : "Ladder", "seconds since its first step; click a step for its message", joined(callCard, calls, "The test placed and took no call.")),
  section("timeline", "Timeline", "seconds since the test began", timelineCard()),
  withAudio.length ? section("audio", "Audio", "at the phone; waveform, spectrogram and what was said", withAudio.map((c) => labelled(c, Object.keys(c.audio).map((d) => trackOf(c, d))))) : null,
  withRtp.length ? section("rtp", "RTP quality", "worked out from the packets", withRtp.map((c) => labelled(c, el("div", { class: "charts" }, chart(c, "received"), chart(c, "sent"))))) : null,
  data.attributes.length ? section("attributes", "Participant attributes", "each change, and the step it fell into", attributesCard()) : null,
  Object.keys(data.logs).length ? section("logs", "Logs", "lines that warn, or name this test's calls, rooms and jobs; click one for its place on the timeline", logsCard()) : null,
  section("run", "Run it again", "", runCard())), detail);
app.append(el("div", { class: "top" }, el("span", { class: `badge ${test.outcome}` }, test.outcome), nav, el("span", { class: "right row" }, el("button", { type: "button", id: "keys", title: "Keys (?)", on: { click: () => help.showModal() } }, "?"), themeButton())), frame, help);
applyFilters();
function draw() { drawStrip(); for (const one of drawings) one(); }
draw();
// Also when the detail takes its part of the width.
let drawnWidth = strip.clientWidth;
new ResizeObserver(([seen]) => { if (seen.contentRect.width !== drawnWidth) { drawnWidth = seen.contentRect.width; draw(); } }).observe(strip);
document.addEventListener("theme", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
const watch = new IntersectionObserver((seen) => {
  for (const entry of seen) if (entry.isIntersecting) for (const link of nav.children) link.classList.toggle("here", link.hash === `#${entry.target.id}`);
}, { rootMargin: "-60px 0px -70% 0px" });
document.querySelectorAll("section[id]").forEach((one) => watch.observe(one));

// --- keys -------------------------------------------------------------------------------------
function move(by) {
  let index = chosen === null ? (by > 0 ? -1 : rows.length) : chosen;
  do index += by; while (index >= 0 && index < rows.length && rows[index].hidden);
  if (index >= 0 && index < rows.length) choose(index);
}
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || help.open) return;
  if (["INPUT", "SELECT", "TEXTAREA"].includes(e.target.tagName)) { if (e.key === "Escape") e.target.blur(); return; }
  const inList = e.target.closest && e.target.closest("#events");
  if (e.key === "j" || (e.key === "ArrowDown" && inList)) { e.preventDefault(); move(1); }
  else if (e.key === "k" || (e.key === "ArrowUp" && inList)) { e.preventDefault(); move(-1); }
  else if (e.key === "Escape") choose(null);
  else if (e.key === "/") { e.preventDefault(); document.getElementById("timeline").scrollIntoView(); search.focus({ preventScroll: true }); }
  else if (e.key === "t") toggleTheme();
  else if (e.key === "?") help.showModal();
  else if (/^[1-9]$/.test(e.key) && parts[e.key - 1]) location.hash = parts[e.key - 1][0];
});
document.body.dataset.ready = String(Math.round(performance.now()));
