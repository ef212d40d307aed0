"use strict";
// Texts and answers are written with textContent only: what they hold is never read as HTML.
const PAGE = 25;

function verdict(score) {
  if (score === null) return "";
  return score >= 1 ? "right" : score > 0 ? "partly" : "wrong";
}

function put(parent, tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  parent.appendChild(made);
  return made;
}

function browse(box) {
  const data = JSON.parse(box.querySelector("script").textContent);
  const words = box.querySelector("input");
  const [run, shown] = box.querySelectorAll("select");
  const [back, on] = box.querySelectorAll("button");
  const count = box.querySelector("output");
  const body = box.querySelector("tbody");
  let page = 0;
  data.runs.forEach((one, index) => { put(run, "option", one.name).value = String(index); });

  function matching() {
    const chosen = data.runs[Number(run.value)];
    const wanted = words.value.trim().toLowerCase();
    return data.examples.map((one, index) => index).filter((index) => {
      const one = data.examples[index];
      const prediction = chosen.predictions[index];
      if (shown.value !== "all" && verdict(chosen.scores[index]) !== shown.value) return false;
      const all = [one.id, one.text, one.answer, one.kind, prediction, ...one.media];
      return !wanted || all.some((text) => text && text.toLowerCase().includes(wanted));
    });
  }

  function row(index) {
    const one = data.examples[index];
    const chosen = data.runs[Number(run.value)];
    const line = put(body, "tr");
    const media = put(line, "td");
    const picture = one.picture && data.pictures[one.picture];
    if (picture) {
      const image = put(media, "img");
      image.src = picture;
      image.alt = one.picture;
      image.loading = "lazy";
    }
    one.media.forEach((path) => put(media, "div", path, "path"));
    const text = put(line, "td", one.text);
    put(text, "div", [one.id, one.kind].filter(Boolean).join(" · "), "path");
    put(line, "td", chosen.predictions[index] ?? "–", verdict(chosen.scores[index]));
    put(line, "td", one.answer ?? "–");
  }

  function draw() {
    const found = matching();
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    page = Math.min(page, last);
    body.replaceChildren();
    found.slice(page * PAGE, (page + 1) * PAGE).forEach(row);
    count.textContent = `${found.length} of ${data.examples.length}, page ${page + 1} of ${last + 1}`;
    back.disabled = page === 0;
    on.disabled = page === last;
  }

  const restart = () => { page = 0; draw(); };
  words.addEventListener("input", restart);
  run.addEventListener("change", restart);
  shown.addEventListener("change", restart);
  back.addEventListener("click", () => { page -= 1; draw(); });
  on.addEventListener("click", () => { page += 1; draw(); });
  draw();
}

document.querySelectorAll("[data-browse]").forEach(browse);
