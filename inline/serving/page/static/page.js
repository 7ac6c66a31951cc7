/* Live page: results as they come, from the server-sent events of /events. */
"use strict";

(function () {
  /* Windows, ms: of a map from fat to blood, of the bull's-eye over the myocardium. */
  const KINDS = {
    "T1 native": { low: 0, high: 2000, segments: { low: 800, high: 1500 }, colours: "Lipari" },
    "T1": { low: 0, high: 2000, segments: { low: 300, high: 1500 }, colours: "Lipari" },
    "T1 post-contrast": { low: 0, high: 1000, segments: { low: 200, high: 800 }, colours: "Lipari" },
    "T2": { low: 0, high: 120, segments: { low: 35, high: 85 }, colours: "Navia" }
  };
  const STALE_MS = 7000;
  const UNUSUAL = 2;
  const NOTHING = "–";

  const slices = new Map();       /* by number, in the order of arrival */
  const closed = new Map();       /* connections that have ended, by number */
  const windows = {};
  const chosenColours = {};
  let study = null;
  let selected = null;
  let lastSign = 0;
  let broken = true;
  let status = null;

  function by(id) { return document.getElementById(id); }

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) { made.textContent = text; }
    if (className) { made.className = className; }
    return made;
  }

  function number(value, digits) {
    return value === null || value === undefined ? NOTHING : value.toFixed(digits);
  }

  function milliseconds(value, quantity) { return number(value, quantity === "T2" ? 1 : 0); }

  function signed(value) {
    if (value === null) { return NOTHING; }
    const text = Math.abs(value).toFixed(1);
    return (text === "0.0" ? "" : value > 0 ? "+" : "−") + text;
  }

  function kindOf(slice) {
    return slice.quantity === "T1" && slice.enhancement ? "T1 " + slice.enhancement : slice.quantity;
  }

  function known(kind) { return KINDS[kind] || KINDS.T1; }

  function windowOf(kind) {
    if (!windows[kind]) { windows[kind] = { low: known(kind).low, high: known(kind).high }; }
    return windows[kind];
  }

  function coloursOf(kind) { return chosenColours[kind] || known(kind).colours; }

  function nameOf(slice) {
    const level = slice.level && slice.level !== "unknown" ? slice.level + ", " : "";
    return level + "slice " + slice.slice_index + " · " + kindOf(slice);
  }

  function optionsOf(slice) {
    const kind = kindOf(slice);
    return {
      window: windowOf(kind), colours: coloursOf(kind), contours: by("contours").checked,
      uncertainty: by("uncertainty").checked, heart: by("heart").checked
    };
  }

  function inStudy() { return Array.from(slices.values()).filter(function (each) { return each.study === study; }); }

  function ringOf(slice) { return slice.regions.length ? slice.regions[0] : null; }

  /* Cards */

  function makeCard(slice) {
    const card = element("button", undefined, "card");
    card.type = "button";
    const canvas = element("canvas");
    canvas.width = canvas.height = 240;
    card.appendChild(canvas);
    const ring = ringOf(slice);
    card.appendChild(element("span", nameOf(slice)));
    card.appendChild(element("strong", ring ? milliseconds(ring.median, slice.quantity) + " ms" : "no value"));
    if (ring && ring.z_score !== null) {
      card.appendChild(element("span", "z " + signed(ring.z_score), Math.abs(ring.z_score) >= UNUSUAL ? "unusual" : ""));
    }
    if (slice.error) {
      card.appendChild(element("span", "error", "failed"));
    } else if (slice.findings.length) {
      card.appendChild(element("span", "⚑ " + slice.findings[0].text, "flagged"));
    }
    card.appendChild(element("span", "latency " + Math.round(slice.latency_ms) + " ms", "faint"));
    card.addEventListener("click", function () { follow(false); select(slice.number); });
    slice.card = card;
    slice.canvas = canvas;
    paint(slice);
  }

  function paint(slice) {
    maps.draw(slice.canvas, slice, optionsOf(slice));
    slice.card.classList.toggle("drawn", Boolean(slice.pixels));
  }

  function loadImage(slice, name, make) {
    if (slice.images.indexOf(name) < 0) { return; }
    fetch("results/" + slice.number + "/" + name, { credentials: "same-origin" }).then(function (reply) {
      if (!reply.ok) { throw new Error("status " + reply.status); }
      return reply.arrayBuffer();
    }).then(function (buffer) {
      make(buffer);
      paint(slice);
      if (selected === slice.number) { showMap(slice); }
    }).catch(function () {
      slice.missing = true;
      if (selected === slice.number) { showDetail(); }
    });
  }

  function addSlice(slice) {
    if (slice.replaces !== null && slices.has(slice.replaces)) {
      forget(slice.replaces);
      if (selected === slice.replaces) { selected = slice.number; }
    }
    slices.set(slice.number, slice);
    makeCard(slice);
    loadImage(slice, "map", function (buffer) { slice.pixels = new Uint16Array(buffer); });
    loadImage(slice, "uncertainty", function (buffer) { slice.shares = new Uint8Array(buffer); });
    if (slice.oldest !== undefined) {
      Array.from(slices.keys()).forEach(function (each) { if (each < slice.oldest) { forget(each); } });
    }
    if (by("follow").checked || selected === null || !slices.has(selected)) {
      study = slice.study;
      selected = slice.number;
    }
    showSoon();
  }

  function forget(which) {
    const gone = slices.get(which);
    if (gone && gone.card.parentNode) { gone.card.parentNode.removeChild(gone.card); }
    slices.delete(which);
  }

  function follow(on) { by("follow").checked = on; }

  function select(which) {
    selected = which;
    study = slices.get(which).study;
    show();
  }

  /* What is shown; at most once a frame. */

  let due = false;
  function showSoon() {
    if (!due) {
      due = true;
      window.requestAnimationFrame(function () { due = false; show(); });
    }
  }

  function order(a, b) {
    return a.slice_index - b.slice_index || kindOf(a).localeCompare(kindOf(b)) || a.number - b.number;
  }

  function show() {
    const cards = by("cards");
    const shown = inStudy().sort(order);
    by("empty").hidden = slices.size > 0;
    /* Cards keep their place and focus where nothing has changed. */
    shown.forEach(function (slice, at) {
      if (cards.children[at] !== slice.card) { cards.insertBefore(slice.card, cards.children[at] || null); }
      slice.card.setAttribute("aria-pressed", String(slice.number === selected));
    });
    while (cards.children.length > shown.length) { cards.removeChild(cards.lastChild); }
    showStudies();
    showDetail();
  }

  function showStudies() {
    const nav = by("studies");
    const focused = nav.contains(document.activeElement);
    const counts = new Map();
    slices.forEach(function (slice) { counts.set(slice.study, (counts.get(slice.study) || 0) + 1); });
    nav.textContent = "";
    counts.forEach(function (count, which) {
      const text = "Examination " + which + " · " + count + (count === 1 ? " slice" : " slices");
      const button = element("button", text);
      button.type = "button";
      button.setAttribute("aria-pressed", String(which === study));
      button.addEventListener("click", function () { follow(false); selectStudy(which); });
      nav.appendChild(button);
      if (focused && which === study) { button.focus(); }
    });
  }

  function selectStudy(which) {
    study = which;
    select(inStudy().sort(order)[0].number);
  }

  function showDetail() {
    const slice = slices.get(selected);
    by("detail").hidden = !slice;
    if (!slice) { return; }
    const kind = kindOf(slice);
    const ring = ringOf(slice);
    by("name").textContent = nameOf(slice) + (slice.description ? " · " + slice.description : "");
    by("median").textContent = ring ?
      milliseconds(ring.median, slice.quantity) + " ms [" + milliseconds(ring.q1, slice.quantity) + "–" +
        milliseconds(ring.q3, slice.quantity) + "]" + (ring.z_score === null ? "" : ", z " + signed(ring.z_score)) :
      "no value";
    by("confidence").textContent = "Expected Dice of the contours: " +
      (slice.confidence === null ? "not known" : slice.confidence.toFixed(2)) +
      (slice.confidence_reason ? ". " + slice.confidence_reason : "");
    fill(by("findings"), slice.findings.map(function (each) { return element("li", each.text); })
      .concat(slice.error ? [element("li", slice.error, "failed")] : [])
      .concat(slice.missing ? [element("li", "The map is not kept any more.", "failed")] : []));
    fill(by("notes"), slice.notes.map(function (each) { return element("li", each); })
      .concat(slice.reference ? [element("li", "z-scores: " + slice.reference)] : [])
      .concat([element("li", "Stages, ms: " + Object.keys(slice.times_ms).map(function (stage) {
        return stage + " " + number(slice.times_ms[stage], 0);
      }).join(", "))]));
    by("latency-text").textContent = "Result " + Math.round(slice.latency_ms) + " ms after the last image; budget " +
      Math.round(slice.budget_ms) + " ms";
    by("latency").max = slice.budget_ms;
    by("latency").value = Math.min(slice.latency_ms, slice.budget_ms);
    by("latency").className = slice.latency_ms > slice.budget_ms ? "late" : "";
    fill(by("values").tBodies[0], slice.regions.map(function (region) { return regionRow(region, slice.quantity); }));
    by("values").hidden = slice.regions.length === 0;
    showTools(kind);
    showMap(slice);
    const alike = inStudy().filter(function (each) { return kindOf(each) === kind; });
    const drawn = bullseye.draw(by("bullseye"), alike, coloursOf(kind), known(kind).segments, signed);
    by("bullseye-figure").hidden = !drawn;
    by("bullseye-caption").textContent = kind + " by AHA segment, median in ms, of all slices of the examination; " +
      "several slices of a segment: mean by area. Colours " + known(kind).segments.low + "–" +
      known(kind).segments.high + " ms.";
  }

  function regionRow(region, quantity) {
    const row = element("tr");
    row.appendChild(element("td", region.name.replace(/^AHA /, "")));
    row.appendChild(element("td", region.median === null ? NOTHING : milliseconds(region.median, quantity) + " [" +
      milliseconds(region.q1, quantity) + "–" + milliseconds(region.q3, quantity) + "]"));
    const unusual = region.z_score !== null && Math.abs(region.z_score) >= UNUSUAL;
    row.appendChild(element("td", signed(region.z_score), unusual ? "unusual" : ""));
    row.appendChild(element("td", String(region.pixels)));
    return row;
  }

  function fill(place, children) {
    place.textContent = "";
    children.forEach(function (each) { place.appendChild(each); });
  }

  function showMap(slice) {
    const options = optionsOf(slice);
    maps.draw(by("map"), slice, options);
    maps.drawBar(by("bar"), options.colours);
    by("bar-low").textContent = options.window.low + " ms";
    by("bar-high").textContent = options.window.high + " ms";
  }

  function showTools(kind) {
    const own = windowOf(kind);
    if (document.activeElement !== by("low")) { by("low").value = own.low; }
    if (document.activeElement !== by("high")) { by("high").value = own.high; }
    by("unit").textContent = "ms (" + kind + ")";
    by("colours").value = coloursOf(kind);
    const any = inStudy().some(function (each) { return each.images.indexOf("uncertainty") >= 0; });
    by("uncertainty").disabled = !any;
    by("uncertainty").parentNode.title = any ? "" : "Set emit.uncertainty for uncertainty maps.";
  }

  function repaint() {
    slices.forEach(paint);
    showDetail();
  }

  function selectedKind() {
    const slice = slices.get(selected);
    return slice ? kindOf(slice) : null;
  }

  function setWindow(low, high) {
    const kind = selectedKind();
    if (kind !== null && isFinite(low) && isFinite(high) && low < high) {
      windows[kind] = { low: low, high: high };
      repaint();
    }
  }

  /* State and connections */

  function showState() {
    const stale = broken || Date.now() - lastSign > STALE_MS;
    by("alarm").hidden = !stale || lastSign === 0;
    by("alarm").textContent = "No connection to myostream: results may be missing.";
    by("state").className = stale ? "broken" : status && status.ready ? "ready" : "";
    by("state").textContent = stale ? "not connected" : status ? status.summary : "connected";
    if (!status) { return; }
    const rows = status.connections.map(function (each) { return linkRow(each, stale ? "not known" : "open"); });
    Array.from(closed.values()).reverse().forEach(function (each) {
      rows.push(linkRow(each, each.lost ? "ended, " + each.lost + " images lost" : "ended"));
    });
    fill(by("connections"), rows);
    by("links").hidden = rows.length === 0;
  }

  function linkRow(each, state) {
    const row = element("tr");
    const cells = [each.connection, state, each.images, each.returned, each.slices, each.results, each.late, each.errors];
    cells.forEach(function (cell) { row.appendChild(element("td", String(cell))); });
    if (each.lost) { row.className = "failed"; }
    return row;
  }

  function take(event) {
    lastSign = Date.now();
    broken = false;
    const content = JSON.parse(event.data);
    if (content.kind === "slice") {
      addSlice(content);
    } else if (content.kind === "closed") {
      closed.set(content.connection, content);
      if (closed.size > 8) { closed.delete(closed.keys().next().value); }
    } else if (content.kind === "status") {
      status = content;
    }
    showState();
  }

  function connect() {
    const source = new EventSource("events");
    source.addEventListener("reset", function () {
      /* A snapshot follows: of this server process or of a later one. */
      Array.from(slices.keys()).forEach(forget);
      closed.clear();
      lastSign = Date.now();
      broken = false;
      showSoon();
    });
    source.onmessage = take;
    source.onerror = function () {
      broken = true;
      showState();
      if (source.readyState === 2) { window.setTimeout(connect, 2000); }
    };
    window.setInterval(showState, 1000);
  }

  /* Controls */

  function move(step) {
    const shown = inStudy().sort(order);
    const at = shown.findIndex(function (each) { return each.number === selected; });
    if (shown.length) {
      follow(false);
      select(shown[Math.min(Math.max(at + step, 0), shown.length - 1)].number);
    }
  }

  function moveStudy(step) {
    const all = Array.from(new Set(Array.from(slices.values()).map(function (each) { return each.study; })));
    const at = all.indexOf(study) + step;
    if (at >= 0 && at < all.length) { follow(false); selectStudy(all[at]); }
  }

  function scaleWindow(factor) {
    const kind = selectedKind();
    if (kind !== null) {
      const own = windowOf(kind);
      const middle = (own.low + own.high) / 2;
      const half = (own.high - own.low) / 2 * factor;
      setWindow(Math.round(middle - half), Math.round(middle + half));
    }
  }

  function nextColours() {
    const kind = selectedKind();
    if (kind !== null) {
      chosenColours[kind] = maps.names[(maps.names.indexOf(coloursOf(kind)) + 1) % maps.names.length];
      repaint();
    }
  }

  function toggle(id) {
    if (!by(id).disabled) { by(id).checked = !by(id).checked; }
    if (id === "follow") { showNewest(); } else { repaint(); }
  }

  function showNewest() {
    const all = Array.from(slices.keys());
    if (by("follow").checked && all.length) { select(all[all.length - 1]); }
  }

  const KEYS = {
    ArrowLeft: function () { move(-1); }, ArrowRight: function () { move(1); },
    p: function () { moveStudy(-1); }, n: function () { moveStudy(1); },
    c: function () { toggle("contours"); }, u: function () { toggle("uncertainty"); },
    z: function () { toggle("heart"); }, f: function () { toggle("follow"); }, m: nextColours,
    "+": function () { scaleWindow(0.8); }, "-": function () { scaleWindow(1.25); }
  };

  document.addEventListener("keydown", function (event) {
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (!typing && !event.ctrlKey && !event.altKey && !event.metaKey && KEYS[event.key]) {
      KEYS[event.key]();
      event.preventDefault();
    }
  });

  by("tools").addEventListener("submit", function (event) { event.preventDefault(); });
  ["contours", "uncertainty", "heart"].forEach(function (id) { by(id).addEventListener("change", repaint); });
  by("follow").addEventListener("change", showNewest);
  ["low", "high"].forEach(function (id) {
    by(id).addEventListener("change", function () { setWindow(parseFloat(by("low").value), parseFloat(by("high").value)); });
  });
  by("reset").addEventListener("click", function () {
    const kind = selectedKind();
    if (kind !== null) { setWindow(known(kind).low, known(kind).high); }
  });
  maps.names.forEach(function (name) { by("colours").appendChild(element("option", name)); });
  by("colours").addEventListener("change", function () {
    if (selectedKind() !== null) { chosenColours[selectedKind()] = by("colours").value; repaint(); }
  });
  by("map").addEventListener("mousemove", function (event) {
    const slice = slices.get(selected);
    const value = slice ? maps.valueAt(by("map"), slice, by("heart").checked, event.offsetX, event.offsetY) : null;
    by("cursor").textContent = value === null ? "" : milliseconds(value, slice.quantity) + " ms";
  });
  by("map").addEventListener("mouseleave", function () { by("cursor").textContent = ""; });

  by("links").hidden = true;
  connect();
})();
