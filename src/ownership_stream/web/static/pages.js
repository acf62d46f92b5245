// Keys for the queue and the matrix: without this file everything works by mouse and by Tab.
"use strict";
(() => {
  const rows = [...document.querySelectorAll("a.open")];
  let at = -1;
  const move = (to) => {
    if (!rows.length) return;
    at = Math.max(0, Math.min(rows.length - 1, to));
    for (const row of document.querySelectorAll("tr.here")) row.classList.remove("here");
    rows[at].closest("tr").classList.add("here");
    rows[at].focus();
  };
  const keys = {
    j: () => move(at + 1),
    k: () => move(at - 1),
    n: () => document.querySelector("a.next")?.click(),
    g: () => { location.href = "/"; },
    "/": () => document.getElementById("first-filter")?.focus(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape" && typing) typing.blur();
    if (localStorage.getItem("keys") === "off") return;
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  // Whoever types a value means to set it.
  for (const box of document.querySelectorAll(".set input, .set select")) {
    box.addEventListener("input", () => { document.querySelector('input[name="action"][value="set"]').checked = true; });
  }
  // Who dictates, or types where nothing is to be typed, can turn the keys off (WCAG 2.1.4).
  const place = document.querySelector(".keys");
  const button = document.createElement("button");
  const told = () => { button.textContent = localStorage.getItem("keys") === "off" ? "Turn keys on" : "Turn keys off"; };
  button.type = "button";
  button.className = "plain";
  button.addEventListener("click", () => {
    localStorage.setItem("keys", localStorage.getItem("keys") === "off" ? "on" : "off");
    told();
  });
  told();
  place?.append(" ", button);
})();
