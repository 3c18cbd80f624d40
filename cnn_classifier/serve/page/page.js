// Sends each image in a separate request, with limited concurrency, so that an unreadable image fails alone.
"use strict";
const MAX_CONCURRENT = 4;
const MAX_ATTEMPTS = 20; // while the queue of the service is full
const byId = (id) => document.getElementById(id);
const fileInput = byId("files"), status = byId("status"), results = byId("results");
const queue = []; // pairs of a file and its card
let numWorkers = 0, numDone = 0, numTotal = 0;

const formatPercent = (probability) =>
  (probability > 0.999 && probability < 1 ? "> 99.9" : (100 * probability).toFixed(1)) + " %";
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

async function showModelInfo() {
  const info = await (await fetch("ready")).json();
  const names = info.class_names.slice(0, 12).join(" · ") + (info.class_names.length > 12 ? " · …" : "");
  const threshold = info.threshold ? ` — rejected below ${Number((100 * info.threshold).toFixed(1))} %` : "";
  byId("model-info").textContent = names + threshold;
}

function createElement(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function createCard(file) {
  const card = byId("result-template").content.firstElementChild.cloneNode(true);
  const image = card.querySelector("img"), name = card.querySelector(".name");
  card.classList.add("pending");
  name.textContent = name.title = file.name || "pasted image";
  image.alt = name.textContent;
  image.onload = () => {
    image.classList.toggle("small-image", Math.max(image.naturalWidth, image.naturalHeight) < 65);
    URL.revokeObjectURL(image.src);
  };
  image.onerror = () => {
    image.parentElement.classList.add("unavailable");
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(file);
  return card;
}

async function predict(file) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  for (let attempt = 1; ; attempt++) {
    const response = await fetch("predict", { method: "POST", headers: { "Content-Type": type }, body: file });
    if (response.status !== 503 || attempt === MAX_ATTEMPTS) {
      const content = await response.json().catch(() => ({ detail: response.statusText }));
      if (!response.ok) throw new Error(content.detail);
      return content.predictions[0];
    }
    await sleep(Number(response.headers.get("Retry-After")) || 1);
  }
}

function showPrediction(card, prediction) {
  card.classList.toggle("rejected", prediction.rejected);
  card.querySelector(".label").textContent = prediction.label;
  const reason = prediction.rejected ? `Rejected: ${prediction.rejection_reason.replaceAll("_", " ")}` : "";
  card.querySelector(".rejection").textContent = reason;
  const list = card.querySelector(".classes");
  prediction.top_k.forEach(([className, probability], index) => {
    const term = createElement("dt", index ? "" : "first", className);
    term.title = className;
    const track = createElement("dd", "track", ""), bar = createElement("i", "", "");
    bar.style.width = `${100 * probability}%`;
    track.append(bar);
    list.append(term, track, createElement("dd", "percent", formatPercent(probability)));
  });
}

async function processFile(file, card) {
  try {
    showPrediction(card, await predict(file));
  } catch (error) {
    card.classList.add("failed");
    const message = error instanceof TypeError ? "Cannot reach the service." : error.message;
    card.querySelector(".label").textContent = message;
  }
  card.classList.remove("pending");
}

async function runWorker() {
  numWorkers++;
  while (queue.length) {
    await processFile(...queue.shift());
    numDone++;
    status.textContent = numDone < numTotal ? `${numDone} of ${numTotal}` : "";
  }
  numWorkers--;
}

function addFiles(files) {
  const entries = [...files].map((file) => [file, createCard(file)]);
  results.prepend(...entries.map(([, card]) => card));
  queue.push(...entries);
  if (!numWorkers) numDone = numTotal = 0;
  numTotal += entries.length;
  for (let count = Math.min(MAX_CONCURRENT - numWorkers, queue.length); count > 0; count--) runWorker();
}

fileInput.addEventListener("change", () => {
  addFiles(fileInput.files);
  fileInput.value = "";
});
addEventListener("paste", (event) => addFiles(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  addFiles(event.dataTransfer.files);
});
showModelInfo();
