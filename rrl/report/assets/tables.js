"use strict";
// Tables sort by a click (or Enter) on a heading, numbers as numbers; <input data-filter="id"> hides rows of a table.
(() => {
  const number = text => {
    const found = /^[^\d.+-]*([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)/i.exec(text.replace("\u2212", "-"));
    return found ? parseFloat(found[1].replace(/,/g, "")) : NaN;
  };
  const empty = text => text === "" || text === "-";

  document.querySelectorAll("table.data").forEach(table => {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    if (body.rows.length < 2) return;
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      head.setAttribute("aria-sort", "none");
      const sort = () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        const rows = [...body.rows].map(row => [row.cells[column].textContent.trim(), row]);
        const told = rows.filter(([text]) => !empty(text));
        const numeric = told.every(([text]) => /^[+\-\u2212]?[\d.]/.test(text) && !Number.isNaN(number(text)));
        told.sort(([a], [b]) => (up ? 1 : -1) * (numeric ? number(a) - number(b) : a.localeCompare(b, undefined, { numeric: true })));
        body.append(...told.map(([, row]) => row), ...rows.filter(([text]) => empty(text)).map(([, row]) => row));
        heads.forEach(h => h.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
    });
  });

  document.querySelectorAll("input[data-filter]").forEach(input => input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    document.querySelectorAll(`#${input.dataset.filter} tbody tr`).forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
  }));
})();
