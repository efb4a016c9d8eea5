// What the page does by itself: previews, the slider, and the address of an answer. Everything that is
// computed comes from the server; the slider only chooses among the intervals that it sent.
"use strict";

const byId = (id) => document.getElementById(id);

function preview(input) {
  const shown = byId(input.dataset.preview);
  if (!shown) return;
  if (shown.src) URL.revokeObjectURL(shown.src);
  const file = input.files[0];
  shown.hidden = !file;
  if (file) shown.src = URL.createObjectURL(file);
  else shown.removeAttribute("src");
}

function slide(slider) {
  const at = Number(slider.value);
  const of = (name) => JSON.parse(slider.dataset[name])[at];
  const [start, length] = of("spans");
  const span = document.querySelector("#bar .span");
  span.setAttribute("x", start);
  span.setAttribute("width", Math.max(length, 3));
  byId("lower").textContent = of("lower");
  byId("upper").textContent = of("upper");
  byId("shown-eps").textContent = of("spoken");
  slider.setAttribute("aria-valuetext", of("spoken"));
  byId("exact-eps").value = of("eps");
}

// The slider does nothing without this script, and so is shown by it.
function showSliders() {
  for (const one of document.querySelectorAll(".slider[hidden]")) one.hidden = false;
}
showSliders();

document.addEventListener("input", (event) => {
  if (event.target.id === "eps-slider") slide(event.target);
});

document.addEventListener("change", (event) => {
  if (event.target.dataset.preview) preview(event.target);
});

// A picture that this browser cannot show (TIFF) has no preview, and is sent all the same.
document.addEventListener("error", (event) => {
  if (event.target.classList && event.target.classList.contains("preview")) event.target.hidden = true;
}, true);

function complain(target, words) {
  const said = document.createElement("p");
  said.className = "refused";
  said.setAttribute("role", "alert");
  said.textContent = words;
  target.replaceChildren(said);
}

// Too large a file is not even sent: the server would refuse it.
document.addEventListener("htmx:beforeRequest", (event) => {
  const form = event.detail.elt.closest("form[data-most]");
  if (!form) return;
  let size = 0;
  for (const input of form.querySelectorAll("input[type=file]")) {
    for (const file of input.files) size += file.size;
  }
  const most = Number(form.dataset.most);
  if (size > most) {
    event.preventDefault();
    const limit = (most / 1048576).toFixed(1);
    complain(event.detail.target, `These files are larger than ${limit} MiB together, which is the limit of this server.`);
  }
});

document.addEventListener("htmx:sendError", (event) => {
  complain(event.detail.target, "The server cannot be reached.");
});

// An answer and a job have an address; with it in the browser's bar a reload finds them again.
function remember() {
  const known = [...document.querySelectorAll("[data-address]")].pop();
  if (known) history.replaceState(null, "", known.dataset.address);
}

// Where an answer has come, the keyboard goes to it.
document.addEventListener("htmx:afterSwap", (event) => {
  const target = event.detail.target;
  showSliders();
  remember();
  if (target && target.classList.contains("answer")) {
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "nearest" });
  }
});
