/* Loaded before the page is drawn: scripts are known to run, and a chosen theme is there from the start. */
(function () {
  "use strict";
  const page = document.documentElement;
  const names = { auto: "◐ System", light: "◐ Light", dark: "◐ Dark" };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  /* Storage may be refused to files; the choice then lasts as long as the page. */
  function stored() {
    try {
      return localStorage.getItem("patchvsr-theme");
    } catch (error) {
      return null;
    }
  }

  function store(theme) {
    try {
      localStorage.setItem("patchvsr-theme", theme);
    } catch (error) {
      /* the choice is not kept */
    }
  }

  let chosen = stored() in names ? stored() : "auto";

  function apply() {
    page.dataset.theme = chosen === "auto" ? (dark.matches ? "dark" : "light") : chosen;
    document.dispatchEvent(new Event("report:theme"));
  }

  page.classList.add("js");
  apply();
  dark.addEventListener("change", apply);

  function copyButton(button) {
    button.addEventListener("click", function () {
      const text = button.parentElement.querySelector("pre").textContent;
      const done = (word) => {
        button.textContent = word;
        setTimeout(() => (button.textContent = "Copy"), 1500);
      };
      const select = () => {
        getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
        done("Selected");
      };
      /* Browsers may refuse the clipboard; then the text is selected, to be copied by hand. */
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => done("Copied"), select);
      else select();
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    const button = document.querySelector("[data-theme-button]");
    const show = () => (button.textContent = names[chosen]);
    button.addEventListener("click", function () {
      const order = Object.keys(names);
      chosen = order[(order.indexOf(chosen) + 1) % order.length];
      store(chosen);
      apply();
      show();
    });
    show();
    document.querySelectorAll("[data-copy]").forEach(copyButton);
  });

  window.Report = {
    root: () => document.body.dataset.root,
    data: (id) => JSON.parse(document.getElementById(id).textContent),
    /* Four digits, as the tables print them. */
    number: function (value) {
      if (value === null || value === undefined) return "–";
      if (value && Math.abs(value) < 1e-4) return value.toExponential(3);
      return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(4);
    },
    option: function (select, value, text) {
      const made = document.createElement("option");
      made.value = value;
      made.textContent = text === undefined ? value : text;
      select.append(made);
    },
    make: function (tag, properties, ...children) {
      const made = Object.assign(document.createElement(tag), properties);
      made.append(...children);
      return made;
    },
  };
})();
