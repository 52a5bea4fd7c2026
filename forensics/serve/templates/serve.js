// The page of forensics.serve: sends files one after another, and shows the server's jobs as events report them.
"use strict";

const { bytes, queue } = document.querySelector("main").dataset;
const limits = { bytes: Number(bytes), queue: Number(queue) };
const find = id => document.getElementById(id);
const jobs = new Map(); // id -> { job, row }; a file's id is a number until an event reports its job
const early = new Map(); // id -> a job reported while a file of its name was being sent: perhaps that file's
const toSend = [];
let nextId = 1, isSending = false, onRoom = () => {};

const UNFINISHED = ["unsent", "sending", "sent", "waiting", "running"];
const isFinished = job => !UNFINISHED.includes(job.state);
const say = text => { find("message").textContent = text; };

function describe(job) {
  switch (job.state) {
    case "unsent": return "waiting to be sent";
    case "sending": return `being sent, ${Math.floor(100 * job.done / Math.max(job.of, 1))}%`;
    case "sent":
    case "waiting": return "waiting";
    case "running":
      if (job.stage === "faces") return job.of ? `finding faces: ${job.done} of ${job.of} frames` : "opening the file";
      if (job.stage === "networks") return `running the networks: ${job.done} of ${job.of}`;
      return "being scored";
    default: return job.reason;
  }
}

function describeOutcome(job) {
  if (job.state !== "done") return job.state;
  return job.status === "ok" ? `${job.verdict}, score ${job.label.toFixed(2)}` : `${job.verdict}: ${job.reason}`;
}

// Rows

function makeRow(job) {
  const row = find("job").content.firstElementChild.cloneNode(true);
  const part = name => row.querySelector(`.${name}`);
  row.querySelector("h3").textContent = job.name;
  for (const button of row.querySelectorAll(".buttons > *")) button.setAttribute("aria-label", `${button.textContent}: ${job.name}`);
  row.querySelector("progress").setAttribute("aria-label", `Progress of ${job.name}`);
  part("page").href = `/jobs/${job.id}/page`;
  part("zip").href = `/jobs/${job.id}/evidence.zip`;
  part("json").href = `/jobs/${job.id}/result.json`;
  part("zip").download = `${job.name}.zip`;
  part("json").download = `${job.name}.json`;
  part("show").addEventListener("click", () => toggleEvidence(row, job));
  part("cancel").addEventListener("click", () => cancel(jobs.get(job.id)?.job ?? job));
  part("delete").addEventListener("click", () => remove(jobs.get(job.id)?.job ?? job));
  return row;
}

function show(job) {
  const known = jobs.get(job.id), file = fileOf(job.id);
  if (!known && !file && isBeingSent(job)) return void early.set(job.id, job);
  const row = known?.row ?? makeRow(job);
  const hadFocus = row.contains(document.activeElement);
  jobs.set(job.id, { job, row });
  fill(row, job);
  const list = find(isFinished(job) ? "results" : "jobs");
  if (row.parentElement !== list) {
    if (isFinished(job)) list.prepend(row); else list.append(row);
    if (hadFocus) focusOn(row); // moving a row takes the focus from it
    showIfEmpty();
  }
  if (file) replace(file.job.id, row);
  if (known && known.job.state !== job.state) say(`${job.name}: ${isFinished(job) ? describeOutcome(job) : describe(job)}`);
}

const TONES = {"likely fake": "fake", "leans fake": "fake", "suspicious": "doubt"};  // as macros.html has them

function fill(row, job) {
  const part = name => row.querySelector(`.${name}`);
  const scored = job.state === "done" && job.status === "ok";
  part("outcome").hidden = !isFinished(job);
  part("score").textContent = scored ? job.label.toFixed(2) : "\u2013";
  part("verdict-name").textContent = job.state === "done" ? job.verdict : job.state;
  part("gauge").hidden = !scored;
  part("gauge").className = `gauge ${TONES[job.verdict] || ""}`;
  if (scored) part("gauge").firstElementChild.style.left = `${100 * job.label}%`;
  part("reason").textContent = describe(job) + (scored && job.meaning ? `. ${job.meaning}` : "");
  const progress = row.querySelector("progress");
  progress.hidden = !["sending", "running"].includes(job.state);
  if (job.of) progress.value = job.done / job.of;
  else progress.removeAttribute("value");
  for (const name of ["show", "page", "zip", "json"]) part(name).hidden = job.state !== "done";
  part("cancel").hidden = isFinished(job);
  part("delete").hidden = !isFinished(job);
}

const fileOf = id => [...jobs.values()].find(({ job }) => job.sentAs === id);
const isBeingSent = ({ id, name }) => typeof id === "string" && [...jobs.values()].some(({ job }) => job.state === "sending" && job.name === name);

function replace(id, row) {
  const old = jobs.get(id).row;
  const hadFocus = old.contains(document.activeElement);
  if (old.parentElement === row.parentElement) old.before(row); // otherwise the file's row would jump to the end
  drop(id);
  if (hadFocus) focusOn(row);
}

function focusOn(row) {
  (row?.querySelector(".buttons > :not([hidden])") ?? find("choose")).focus();
}

function drop(id) {
  const { row } = jobs.get(id);
  const hadFocus = row.contains(document.activeElement);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  jobs.delete(id);
  row.remove();
  if (hadFocus) focusOn(next);
  showIfEmpty();
}

function showIfEmpty() {
  find("no-jobs").hidden = find("jobs").children.length > 0;
  find("no-results").hidden = find("results").children.length > 0;
}

function toggleEvidence(row, job) {
  const button = row.querySelector(".show");
  const open = row.querySelector("iframe");
  if (open) open.remove();
  else {
    const frame = document.createElement("iframe");
    frame.title = `Evidence for ${job.name}`;
    frame.setAttribute("sandbox", "");
    frame.src = `/jobs/${job.id}/page`;
    row.append(frame);
  }
  button.setAttribute("aria-expanded", String(!open));
  button.textContent = open ? "Show evidence" : "Hide evidence";
  button.setAttribute("aria-label", `${button.textContent}: ${job.name}`);
}

// What the buttons do

async function ask(method, path, job) {
  const answer = await fetch(path, { method }).catch(() => null);
  if (!answer) say("The server does not answer.");
  else if (answer.status === 404 && jobs.has(job.id)) drop(job.id);
  else if (!answer.ok) say((await answer.json()).error);
}

function cancel(job) {
  const id = job.sentAs ?? job.id;
  if (typeof id === "string") return ask("POST", `/jobs/${id}/cancel`, job);
  job.request?.abort();
  show({ ...job, state: "cancelled", reason: "cancelled before it was sent" });
}

function remove(job) {
  if (typeof job.id === "string") return ask("DELETE", `/jobs/${job.id}`, job);
  drop(job.id);
}

// Sending

function add(files) {
  const fields = [...document.querySelectorAll(".of-case")].filter(field => field.value);
  const inCase = Object.fromEntries(fields.map(field => [field.id, field.value]));
  for (const file of files) {
    const job = { id: nextId++, name: file.name, state: "unsent", reason: "", file, inCase };
    const tooLarge = file.size > limits.bytes;
    show(job);
    if (tooLarge) show({ ...job, state: "refused", reason: "The file is larger than the limit above." });
    else toSend.push(job);
  }
  sendAll();
}

async function sendAll() {
  if (isSending) return;
  isSending = true;
  while (toSend.length) {
    const { job } = jobs.get(toSend.shift().id) ?? {};
    if (!job || job.state !== "unsent") continue;
    while (!hasRoom()) await new Promise(resolve => { onRoom = resolve; });
    if (jobs.get(job.id)?.job.state === "unsent") await send(job);
  }
  isSending = false;
}

function hasRoom() {
  const isOnServer = job => ["sent", "waiting", "running"].includes(job.state);
  return [...jobs.values()].filter(({ job }) => isOnServer(job)).length < limits.queue;
}

function send(job) {
  return new Promise(resolve => {
    const request = new XMLHttpRequest();
    const update = changes => { if (jobs.get(job.id) && !isFinished(jobs.get(job.id).job)) show({ ...job, request, ...changes }); };
    request.open("POST", `/jobs?${new URLSearchParams({ name: job.name, ...job.inCase })}`);
    request.responseType = "json";
    request.upload.addEventListener("progress", event => update({ state: "sending", done: event.loaded, of: event.total }));
    request.addEventListener("load", () => {
      if (request.status === 202) {
        const known = jobs.get(request.response.id); // already shown if the server shortened its name
        if (known && jobs.has(job.id)) replace(job.id, known.row);
        else update({ state: "sent", sentAs: request.response.id });
      } else update({ state: "refused", reason: request.response?.error ?? `The server answered with status ${request.status}.` });
    });
    request.addEventListener("error", () => update({ state: "refused", reason: "The file could not be sent: the server does not answer, or this is a folder." }));
    request.addEventListener("loadend", () => { showEarly(); resolve(); });
    update({ state: "sending", done: 0, of: job.file.size });
    request.send(job.file);
  });
}

function showEarly() {
  const reported = [...early.values()];
  early.clear();
  reported.forEach(show);
}

// What the server reports

function listen() {
  const events = new EventSource("/events");
  let isLost = false;
  events.addEventListener("open", () => { if (isLost) say("The server answers again."); isLost = false; });
  events.addEventListener("error", () => { isLost = true; say("The server does not answer. This page keeps trying."); });
  events.addEventListener("message", event => {
    const change = JSON.parse(event.data);
    if (change.is_all) {
      early.clear();
      const kept = new Set(change.jobs.map(job => job.id));
      for (const id of [...jobs.keys()]) if (typeof id === "string" && !kept.has(id)) drop(id);
    }
    change.jobs.forEach(show);
    for (const id of change.gone) {
      early.delete(id);
      const known = jobs.get(id) ?? fileOf(id);
      if (known) drop(known.job.id);
    }
    onRoom();
  });
}

find("choose").addEventListener("click", () => find("files").click());
find("files").addEventListener("change", event => { add([...event.target.files]); event.target.value = ""; });
document.addEventListener("dragover", event => { event.preventDefault(); find("drop").classList.add("over"); });
document.addEventListener("dragleave", event => { if (!event.relatedTarget) find("drop").classList.remove("over"); });
document.addEventListener("drop", event => {
  event.preventDefault();
  find("drop").classList.remove("over");
  add([...event.dataTransfer.files]);
});
listen();
