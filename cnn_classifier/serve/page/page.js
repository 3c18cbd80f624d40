// Sends each picture on its own, a few at once, so that one that cannot be read fails alone.
"use strict";
const AT_ONCE = 4;
const PATIENCE = 20; // tries while the service is busy
const byId = (id) => document.getElementById(id);
const drop = byId("drop"), files = byId("files"), status = byId("status"), answers = byId("answers");
const waiting = [];
let working = 0, done = 0, all = 0;
let minSimilarity = null; // below it a picture is unlike all that the model knows

const percent = (share) => (share > 0.999 && share < 1 ? "> 99.9" : (100 * share).toFixed(1)) + " %";
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

async function introduce() {
  const told = await (await fetch("ready")).json();
  const names = told.class_names.slice(0, 12).join(" · ") + (told.class_names.length > 12 ? " · …" : "");
  minSimilarity = told.min_similarity;
  byId("about").textContent = names + (told.threshold ? ` — unknown below ${Number((100 * told.threshold).toFixed(1))} %` : "");
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function card(file) {
  const made = byId("answer").content.firstElementChild.cloneNode(true);
  const image = made.querySelector("img"), name = made.querySelector(".name");
  made.classList.add("waiting");
  name.textContent = name.title = file.name || "pasted picture";
  image.alt = name.textContent;
  image.onload = () => {
    image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) < 65);
    URL.revokeObjectURL(image.src);
  };
  image.onerror = () => {
    image.parentElement.classList.add("blank");
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(file);
  return made;
}

async function ask(file) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  for (let tries = 1; ; tries++) {
    const reply = await fetch("predict", { method: "POST", headers: { "Content-Type": type }, body: file });
    if (reply.status !== 503 || tries === PATIENCE) {
      const told = await reply.json().catch(() => ({ detail: reply.statusText }));
      if (!reply.ok) throw new Error(told.detail);
      return told.predictions[0];
    }
    await pause(Number(reply.headers.get("Retry-After")) || 1);
  }
}

function show(made, answer) {
  const unknown = answer.label !== answer.top_k[0][0];
  const unlike = unknown && minSimilarity !== null && answer.similarity < minSimilarity;
  made.classList.toggle("unknown", unknown);
  made.querySelector(".label").textContent = answer.label + (unlike ? ": unlike all it knows" : "");
  const list = made.querySelector(".classes");
  answer.top_k.forEach(([name, share], index) => {
    const rail = element("dd", "rail", ""), bar = element("i", "", "");
    bar.style.width = `${100 * share}%`;
    rail.append(bar);
    const named = element("dt", index ? "" : "first", name);
    named.title = name;
    list.append(named, rail, element("dd", "percent", percent(share)));
  });
}

async function look(file, made) {
  try {
    show(made, await ask(file));
  } catch (error) {
    made.classList.add("failed");
    const lost = error instanceof TypeError ? "the service cannot be reached" : error.message;
    made.querySelector(".label").textContent = lost;
  }
  made.classList.remove("waiting");
}

async function work() {
  working++;
  while (waiting.length) {
    await look(...waiting.shift());
    done++;
    status.textContent = done < all ? `${done} of ${all}` : "";
  }
  working--;
}

function take(chosen) {
  const made = [...chosen].map((file) => [file, card(file)]);
  answers.prepend(...made.map(([, shown]) => shown));
  waiting.push(...made);
  if (!working) done = all = 0;
  all += made.length;
  for (let free = Math.min(AT_ONCE - working, waiting.length); free > 0; free--) work();
}

files.addEventListener("change", () => {
  take(files.files);
  files.value = "";
});
addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files);
});
introduce();
