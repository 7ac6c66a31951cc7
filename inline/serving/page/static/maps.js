/* Maps on a canvas: colour maps, windows, contours and uncertainty. */
"use strict";

var maps = (function () {
  /* 17 equidistant colours of each map. Lipari and Navia by F. Crameri (Fuderer et al. 2025 recommend them for T1
     and T2), cividis, viridis and inferno of matplotlib. */
  const STOPS = {
    Lipari: "031326 092844 183e61 365176 525b7a 655e77 785f72 8d616d a56267 bf6561 da6f5e e98466 e99b74 e5af84 e7c49a " +
      "f1ddb9 fdf5da",
    Navia: "031327 052546 073966 0e4d81 1b608f 266f90 2f798b 378186 418a80 4c9579 5aa171 6db169 89c36a b1d67f d3e3a1 " +
      "ebedc1 fcf4d9",
    Cividis: "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 " +
      "f0d846 fee838",
    Grey: "000000 ffffff",
    Viridis: "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 " +
      "d8e219 fde725",
    Inferno: "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d24644 e45a31 f1731d f98e09 fcac11 f9cb35 " +
      "f2ea69 fcffa4"
  };
  const ENDO = "#ff4040";
  const EPI = "#40e060";
  const INSERTION = "#40d0ff";
  const UNCERTAIN = [255, 0, 255];
  const MARGIN = 0.55;
  const tables = {};

  function table(name) {
    if (!tables[name]) {
      const stops = STOPS[name].split(" ").map(function (hex) {
        return [0, 2, 4].map(function (at) { return parseInt(hex.substr(at, 2), 16); });
      });
      const made = new Uint8Array(768);
      for (let level = 0; level < 256; level++) {
        const at = level / 255 * (stops.length - 1);
        const left = Math.min(Math.floor(at), stops.length - 2);
        for (let channel = 0; channel < 3; channel++) {
          const from = stops[left][channel];
          made[3 * level + channel] = Math.round(from + (at - left) * (stops[left + 1][channel] - from));
        }
      }
      tables[name] = made;
    }
    return tables[name];
  }

  function level(value, window) {
    const share = (value - window.low) / (window.high - window.low);
    return Math.round(255 * Math.min(Math.max(share, 0), 1));
  }

  function colour(name, value, window) {
    const at = 3 * level(value, window);
    const rgb = table(name);
    return [rgb[at], rgb[at + 1], rgb[at + 2]];
  }

  /* Part of the map that is shown, in pixels. */
  function view(slice, heartOnly) {
    const rows = slice.shape[0];
    const columns = slice.shape[1];
    if (!heartOnly || !slice.contours) {
      return { x: -0.5, y: -0.5, width: columns, height: rows };
    }
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    slice.contours.epi.forEach(function (point) {
      left = Math.min(left, point[0]); right = Math.max(right, point[0]);
      top = Math.min(top, point[1]); bottom = Math.max(bottom, point[1]);
    });
    /* As wide as high, in mm. */
    const spacing = slice.pixel_spacing_mm;
    const half = (0.5 + MARGIN) * Math.max((right - left) * spacing[0], (bottom - top) * spacing[1]);
    const width = 2 * half / spacing[0];
    const height = 2 * half / spacing[1];
    return { x: (left + right - width) / 2, y: (top + bottom - height) / 2, width: width, height: height };
  }

  /* Map with the resolution of its pixels. */
  function raster(slice, options) {
    const made = document.createElement("canvas");
    made.height = slice.shape[0];
    made.width = slice.shape[1];
    const context = made.getContext("2d");
    const image = context.createImageData(made.width, made.height);
    const rgb = table(options.colours);
    const pixels = slice.pixels;
    const shares = options.uncertainty ? slice.shares : null;
    for (let at = 0; at < pixels.length; at++) {
      const out = 4 * at;
      image.data[out + 3] = 255;
      /* 0: no value; it stays black. */
      if (pixels[at] !== 0) {
        const from = 3 * level(pixels[at] * slice.map.step, options.window);
        for (let channel = 0; channel < 3; channel++) { image.data[out + channel] = rgb[from + channel]; }
      }
      if (shares) {
        const share = shares[at] / 255;
        for (let channel = 0; channel < 3; channel++) {
          image.data[out + channel] += share * (UNCERTAIN[channel] - image.data[out + channel]);
        }
      }
    }
    context.putImageData(image, 0, 0);
    return made;
  }

  function draw(canvas, slice, options) {
    const shown = view(slice, options.heart);
    const spacing = slice.pixel_spacing_mm;
    canvas.height = Math.round(canvas.width * shown.height * spacing[1] / (shown.width * spacing[0]));
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const across = canvas.width / shown.width;
    const down = canvas.height / shown.height;
    function toCanvas(point) { return [(point[0] - shown.x) * across, (point[1] - shown.y) * down]; }
    if (slice.pixels) {
      /* Whole numbers are pixel centres: the first pixel begins at -0.5. */
      const corner = toCanvas([-0.5, -0.5]);
      const source = raster(slice, options);
      context.imageSmoothingEnabled = true;
      context.drawImage(source, corner[0], corner[1], source.width * across, source.height * down);
    }
    if (options.contours && slice.contours) {
      context.lineWidth = Math.max(1.5, canvas.width / 240);
      [["epi", EPI], ["endo", ENDO]].forEach(function (each) {
        context.strokeStyle = each[1];
        context.beginPath();
        slice.contours[each[0]].forEach(function (point) { context.lineTo.apply(context, toCanvas(point)); });
        context.closePath();
        /* A dark rim: red and green are close to some colours of a map. */
        const colour = context.strokeStyle;
        const width = context.lineWidth;
        context.strokeStyle = "rgba(0, 0, 0, 0.6)";
        context.lineWidth = 2 * width;
        context.stroke();
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.stroke();
      });
      context.strokeStyle = INSERTION;
      slice.insertions.forEach(function (point) {
        const at = toCanvas(point);
        const arm = canvas.width / 60;
        context.beginPath();
        context.moveTo(at[0] - arm, at[1]); context.lineTo(at[0] + arm, at[1]);
        context.moveTo(at[0], at[1] - arm); context.lineTo(at[0], at[1] + arm);
        context.stroke();
      });
    }
  }

  /* Value under a point of the canvas, in the unit of the map; null where there is none. */
  function valueAt(canvas, slice, heartOnly, x, y) {
    const shown = view(slice, heartOnly);
    const column = Math.round(shown.x + x / canvas.clientWidth * shown.width);
    const row = Math.round(shown.y + y / canvas.clientHeight * shown.height);
    const within = row >= 0 && column >= 0 && row < slice.shape[0] && column < slice.shape[1];
    const steps = within && slice.pixels ? slice.pixels[row * slice.shape[1] + column] : 0;
    return steps ? steps * slice.map.step : null;
  }

  function drawBar(canvas, name) {
    const context = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x++) {
      context.fillStyle = "rgb(" + colour(name, x, { low: 0, high: canvas.width - 1 }).join(",") + ")";
      context.fillRect(x, 0, 1, canvas.height);
    }
  }

  return { names: Object.keys(STOPS), colour: colour, draw: draw, drawBar: drawBar, valueAt: valueAt };
})();
