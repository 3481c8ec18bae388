"use strict";
// Reviews stored states: a virtual list of fixed row heights beside the state in full. Text reaches the page as textContent
// only. A section: <section class="review" data-run data-alone> with its rows as JSON in a script element.
(() => {
  const HEIGHT = 54, AROUND = 6, DECISIONS = ["approved", "rejected", "flagged"];
  const VERB = { approved: "approved", rejected: "rejected", flagged: "flagged", "": "left undecided" };
  const ORDERS = {
    stored: () => 0,
    "value up": (a, b) => low(a.value) - low(b.value), "value down": (a, b) => low(b.value) - low(a.value),
    "uses down": (a, b) => low(b.uses) - low(a.uses), "harm down": (a, b) => low(b.harm) - low(a.harm),
  };
  const low = v => v == null ? -Infinity : v;
  const short = v => v == null ? "-" : Number.isInteger(v) ? "" + v : v.toFixed(3);

  function review(root) {
    const $ = name => root.querySelector(`[data-is="${name}"]`);
    const rows = JSON.parse($("rows").textContent), alone = "alone" in root.dataset, place = "rrl-review " + root.dataset.run;
    const list = $("list"), tall = $("tall"), inputs = [...root.querySelectorAll(".filters input, .filters select")];
    rows.forEach((row, i) => { row.at = i; row.find = [row.problem, row.prompt, row.prefix].join("\n").toLowerCase(); });
    const before = JSON.parse(root.dataset.decided || "{}");
    let mine = {}, shown = rows, here = 0, past = [], handle = null, keeps = true;

    // ---------------------------------------------------------------- decisions
    // mine: key -> what was decided in this browser, "" = taken back; over what the run had already.
    try { mine = JSON.parse(localStorage.getItem(place)) || {}; } catch { keeps = false; }
    const decided = row => row.key in mine ? mine[row.key] : row.decision || "";
    function remember() {
      try { localStorage.setItem(place, JSON.stringify(mine)); } catch { keeps = false; }
      $("lost").hidden = keeps;
    }
    function decide(some, decision_of) {
      past.push({ at: some[0].key, was: some.map(row => [row.key, mine[row.key]]) });
      some.forEach(row => { mine[row.key] = decision_of(row); });
      remember();
      refilter();
    }
    function decideHere(decision) {
      const row = shown[here];
      if (!row) return;
      decide([row], () => decision);
      if (shown[here] === row && decision) here++;   // else a filter took it away, and the next one stands here already
      say(`${row.problem}: ${VERB[decision]}`);
      go(0);
    }
    function decideAll(decision) {
      const number = shown.length;
      if (!number) return;
      decide(shown, () => decision);
      say(`${number} states ${VERB[decision]}; z takes it back`);
      go(0);
    }
    function takeBack() {
      const last = past.pop();
      if (!last) return say("nothing to take back");
      last.was.forEach(([key, was]) => { if (was === undefined) delete mine[key]; else mine[key] = was; });
      remember();
      refilter();
      const found = shown.findIndex(row => row.key === last.at);
      if (found >= 0) here = found;
      say(`taken back: ${last.was.length === 1 ? "one decision" : last.was.length + " decisions"}`);
      go(0);
    }

    // ---------------------------------------------------------------- the file
    // All that is decided: of the rows here, and of states that are gone (a rejected one must not come back).
    const all = () => Object.entries({ ...before, ...Object.fromEntries(rows.map(row => [row.key, decided(row)])), ...mine })
      .filter(([, decision]) => decision);
    const text = () => all().map(([key, decision]) => JSON.stringify({ key, decision }) + "\n").join("");
    const count = () => all().length;
    function download() {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text()], { type: "application/x-ndjson" }));
      link.download = "review.jsonl";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      say(`${count()} decisions downloaded as review.jsonl; put it into the run's folder, or: rrl-review import <run> review.jsonl`);
    }
    async function write(ask) {
      try {
        if (ask || !handle) handle = await window.showSaveFilePicker({ suggestedName: "review.jsonl" });
        const file = await handle.createWritable();
        await file.write(text());
        await file.close();
        say(`${count()} decisions written to ${handle.name}`);
      } catch (error) {
        if (error.name !== "AbortError") say(`not written: ${error.message}; the button beside downloads the file`);
      }
    }
    async function load(file) {
      let odd = 0;
      const known = new Set(rows.map(row => row.key)), found = {};
      for (const line of (await file.text()).split("\n").filter(l => l.trim())) {
        try {
          const { key, decision } = JSON.parse(line);
          if (known.has(key) && DECISIONS.includes(decision)) { found[key] = decision; continue; }
          if (/^[0-9a-f]{16}$/.test(key) && DECISIONS.includes(decision)) before[key] = decision;   // kept for the file
          odd++;
        } catch { odd++; }
      }
      const taken = rows.filter(row => row.key in found);
      if (taken.length) decide(taken, row => found[row.key]);
      say(`${taken.length} decisions read from ${file.name}` + (odd ? `; ${odd} lines are of no state here, or no decision` : ""));
      go(0);
    }

    // ---------------------------------------------------------------- filters
    function refilter() {
      const is = Object.fromEntries(inputs.map(input => [input.name, input.value]));
      const words = is.find.toLowerCase(), tests = [];
      if (words) tests.push(row => row.find.includes(words));
      for (const name of ["task", "status"]) if (is[name]) tests.push(row => row[name] === is[name]);
      if (is.decision) tests.push(row => (decided(row) || "undecided") === is.decision);
      for (const name of ["value", "uses", "harm"]) {
        const least = is[name + " from"], most = is[name + " to"];
        if (least) tests.push(row => row[name] != null && row[name] >= +least);
        if (most) tests.push(row => row[name] != null && row[name] <= +most);
      }
      shown = rows.filter(row => tests.every(test => test(row))).sort((a, b) => ORDERS[is.order](a, b) || a.at - b.at);
    }

    // ---------------------------------------------------------------- what is seen
    function element(tag, kind, content) {
      const made = document.createElement(tag);
      if (kind) made.className = kind;
      made.textContent = content;
      return made;
    }
    function numbers(row) {
      const parts = [row.problem, `value ${short(row.value)}`, `uses ${short(row.uses)}`];
      if (row.harm != null) parts.push(`harm ${short(row.harm)}`);
      return parts.concat(decided(row) || []).filter(Boolean).join(" \u00b7 ");
    }
    function drawList() {
      tall.style.height = shown.length * HEIGHT + "px";
      const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - AROUND);
      const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + AROUND);
      tall.replaceChildren(...shown.slice(first, last).map((row, i) => {
        const box = element("div", `row ${decided(row)}${first + i === here ? " here" : ""}`, "");
        box.style.top = (first + i) * HEIGHT + "px";
        box.dataset.place = first + i;
        box.setAttribute("role", "option");
        box.setAttribute("aria-selected", first + i === here);
        box.append(element("span", "text", row.prefix.slice(0, 200)), element("span", "small", numbers(row)));
        return box;
      }));
    }
    function drawState() {
      const row = shown[here];
      $("none").hidden = !!row;
      $("one").hidden = !row;
      root.querySelectorAll(".decide [data-decision]").forEach(button => {
        button.disabled = !row;
        button.setAttribute("aria-pressed", !!row && decided(row) === button.dataset.decision && !!button.dataset.decision);
      });
      if (!row) return;
      $("state").className = `state ${decided(row)}`;
      $("problem").textContent = row.problem;
      const facts = { task: row.task, value: short(row.value), uses: short(row.uses), solved: short(row.wins), harm: row.harm == null ? null : short(row.harm),
        "born at step": row.born_step, "cut from": row.origin, status: row.status, decision: decided(row) || "undecided", key: row.key };
      $("facts").replaceChildren(...Object.entries(facts).filter(([, v]) => v != null && v !== "").map(([name, value]) => {
        const pair = document.createElement("div");
        pair.append(element("dt", "", name), element("dd", "", value));
        return pair;
      }));
      $("prompt").textContent = row.prompt || "";
      $("prefix").textContent = row.prefix;
      $("state").scrollTop = 0;
    }
    function draw(follow) {
      if (follow && shown.length) {
        const top = here * HEIGHT;
        if (top < list.scrollTop) list.scrollTop = top;
        else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
      }
      drawList();
      drawState();
      const each = Object.fromEntries(DECISIONS.map(d => [d, 0]));
      rows.forEach(row => { if (decided(row)) each[decided(row)]++; });
      $("counts").textContent = `${shown.length} of ${rows.length} shown \u00b7 ` + DECISIONS.map(d => `${each[d]} ${d}`).join(" \u00b7 ")
        + ` \u00b7 ${rows.filter(row => !decided(row)).length} undecided`;
    }
    const say = words => { $("said").textContent = words; };
    const go = by => { here = Math.max(0, Math.min(shown.length - 1, here + by)); draw(true); };
    function nextUndecided() {
      const later = shown.findIndex((row, i) => i > here && !decided(row));
      const found = later >= 0 ? later : shown.findIndex(row => !decided(row));
      if (found < 0) return say("all of these are decided");
      here = found;
      draw(true);
    }

    // ---------------------------------------------------------------- hands
    const KEYS = {
      j: () => go(1), ArrowDown: () => go(1), k: () => go(-1), ArrowUp: () => go(-1), n: nextUndecided, z: takeBack,
      PageDown: () => go(10), PageUp: () => go(-10), Home: () => go(-shown.length), End: () => go(shown.length),
      a: () => decideHere("approved"), r: () => decideHere("rejected"), f: () => decideHere("flagged"), u: () => decideHere(""),
      s: () => handle ? write(false) : download(), "/": () => { $("filters").open = true; $("find").focus(); },
    };
    document.addEventListener("keydown", event => {
      const typing = event.target.matches("input, select, textarea");
      if (typing && event.key === "Escape") event.target.blur();
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
      if (!alone && !root.contains(event.target)) return;
      event.preventDefault();
      KEYS[event.key]();
    });
    list.addEventListener("scroll", drawList);
    new ResizeObserver(drawList).observe(list);
    list.addEventListener("click", event => {
      const box = event.target.closest(".row");
      if (box) { here = +box.dataset.place; draw(false); }
    });
    inputs.forEach(input => input.addEventListener("input", () => {
      const row = shown[here];
      refilter();
      here = Math.max(0, shown.indexOf(row));
      draw(true);
    }));
    root.querySelectorAll(".decide [data-decision]").forEach(b => b.addEventListener("click", () => decideHere(b.dataset.decision)));
    root.querySelectorAll("[data-all]").forEach(b => b.addEventListener("click", () => decideAll(b.dataset.all)));
    $("clear").addEventListener("click", () => {
      inputs.forEach(input => { input.value = input.name === "order" ? "stored" : ""; });
      inputs[0].dispatchEvent(new Event("input"));
    });
    const press = { save: download, write: () => write(true), load: () => $("file").click(), back: takeBack, up: () => go(-1),
      down: () => go(1) };
    for (const [name, act] of Object.entries(press)) $(name).addEventListener("click", act);
    $("file").addEventListener("change", event => { if (event.target.files[0]) load(event.target.files[0]); event.target.value = ""; });
    $("write").hidden = !window.showSaveFilePicker;
    $("lost").hidden = keeps;
    $("filters").open = matchMedia("(min-width: 721px)").matches;
    refilter();
    draw(false);
  }
  document.querySelectorAll("section.review").forEach(review);
})();
