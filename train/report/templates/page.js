"use strict";
// Texts and answers are written with textContent only: what they hold is never read as HTML.
const PAGE = 25;
const NOTHING = "No answer matches: try other words, another run, or right and wrong.";

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
  const [previous, next] = box.querySelectorAll("button");
  const count = box.querySelector("output");
  const body = box.querySelector("tbody");
  const headings = [...box.querySelectorAll("th")].map((heading) => heading.textContent);
  let page = 0;
  data.runs.forEach((each, index) => { put(run, "option", each.name).value = String(index); });

  function matching() {
    const chosen = data.runs[Number(run.value)];
    const wanted = words.value.trim().toLowerCase();
    return data.examples.map((_, index) => index).filter((index) => {
      const example = data.examples[index];
      const prediction = chosen.predictions[index];
      if (shown.value !== "all" && verdict(chosen.scores[index]) !== shown.value) return false;
      const all = [example.id, example.text, example.answer, example.kind, prediction, ...example.media];
      return !wanted || all.some((text) => text && text.toLowerCase().includes(wanted));
    });
  }

  function cell(line, column, text, className) {
    const made = put(line, "td", text, className);
    made.dataset.column = headings[column];
    return made;
  }

  function row(index) {
    const example = data.examples[index];
    const chosen = data.runs[Number(run.value)];
    const line = put(body, "tr");
    const media = cell(line, 0);
    example.media.forEach((path) => {
      const picture = data.pictures[path];
      if (picture) {
        const image = put(media, "img");
        Object.assign(image, { alt: path, loading: "lazy" }, picture);
      }
      put(media, "div", path, "path");
    });
    const text = cell(line, 1, example.text);
    put(text, "div", [example.id, example.kind].filter(Boolean).join(" · "), "path");
    cell(line, 2, chosen.predictions[index] ?? "–", verdict(chosen.scores[index]));
    cell(line, 3, example.answer ?? "–");
  }

  function draw() {
    const matches = matching();
    const last = Math.max(0, Math.ceil(matches.length / PAGE) - 1);
    page = Math.min(page, last);
    body.replaceChildren();
    matches.slice(page * PAGE, (page + 1) * PAGE).forEach(row);
    if (!matches.length) put(put(body, "tr"), "td", NOTHING, "nothing").colSpan = headings.length;
    count.textContent = `${matches.length} of ${data.examples.length}, page ${page + 1} of ${last + 1}`;
    previous.disabled = page === 0;
    next.disabled = page === last;
  }

  const restart = () => { page = 0; draw(); };
  words.addEventListener("input", restart);
  run.addEventListener("change", restart);
  shown.addEventListener("change", restart);
  previous.addEventListener("click", () => { page -= 1; draw(); });
  next.addEventListener("click", () => { page += 1; draw(); });
  draw();
}

document.querySelectorAll("[data-browse]").forEach(browse);
