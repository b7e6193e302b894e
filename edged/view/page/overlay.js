// Draws what was found into the picture in which it was found.

const HUES = { person: 150, car: 205, truck: 225, bus: 250, bicycle: 45, dog: 20, cat: 330 };

export function hue(label) {
  if (Object.hasOwn(HUES, label)) return HUES[label];
  let number = 7;
  for (const letter of label) number = (number * 31 + letter.codePointAt(0)) % 360;
  return number;
}

export function shortName(event) {
  return event.slice(-4);
}

function path(context, points, width, height) {
  context.beginPath();
  points.forEach(([x, y], index) => context[index ? "lineTo" : "moveTo"](x * width, y * height));
}

function tag(context, text, x, y, colour, unit) {
  context.font = `600 ${7 * unit}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + 4 * unit;
  const left = Math.max(0, Math.min(x, context.canvas.width - wide));
  const top = Math.max(0, y - 9 * unit);
  context.fillStyle = colour;
  context.fillRect(left, top, wide, 9 * unit);
  context.fillStyle = "#000";
  context.fillText(text, left + 2 * unit, top + 7 * unit);
}

function arrow(context, [from, to], width, height, unit) {
  const [ax, ay, bx, by] = [from[0] * width, from[1] * height, to[0] * width, to[1] * height];
  const angle = Math.atan2(by - ay, bx - ax);
  context.beginPath();
  context.moveTo(ax, ay);
  context.lineTo(bx, by);
  for (const turn of [2.6, -2.6]) {
    context.moveTo(bx, by);
    context.lineTo(bx + 7 * unit * Math.cos(angle + turn), by + 7 * unit * Math.sin(angle + turn));
  }
  context.stroke();
}

function drawArea(context, area, width, height, unit) {
  context.lineWidth = unit;
  context.strokeStyle = "rgb(255 255 255 / 85%)";
  context.setLineDash([4 * unit, 3 * unit]);
  if (area.kind === "line") {
    context.setLineDash([]);
    arrow(context, area.points, width, height, unit);
  } else {
    path(context, area.points, width, height);
    context.closePath();
    context.fillStyle = area.kind === "mask" ? "rgb(0 0 0 / 55%)" : "rgb(255 255 255 / 10%)";
    context.fill();
    context.stroke();
  }
  context.setLineDash([]);
  if (area.name) tag(context, area.name, area.points[0][0] * width, area.points[0][1] * height, "rgb(255 255 255 / 85%)", unit);
}

function drawBox(context, found, scale, unit, still) {
  const [x1, y1, x2, y2] = found.box.map((side) => side * scale);
  const colour = `hsl(${hue(found.label)} 85% 60%)`;
  context.lineWidth = 1.5 * unit;
  context.strokeStyle = colour;
  context.setLineDash(still ? [5 * unit, 3 * unit] : []);
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
}

function nameBox(context, found, scale, unit) {
  const [x1, y1] = found.box.map((side) => side * scale);
  const colour = `hsl(${hue(found.label)} 85% 60%)`;
  const name = found.track ? ` ${shortName(found.track)}` : "";
  tag(context, `${found.label} ${Math.round(found.confidence * 100)}%${name}`, x1 - 0.75 * unit, y1, colour, unit);
}

// `message` belongs to `bitmap`: boxes are in pixels of the frame, whose size it says.
export function draw(canvas, bitmap, message, areas, still) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  const context = canvas.getContext("2d", { alpha: false });
  const unit = 1.6 * Math.max(1, canvas.width / Math.max(1, canvas.clientWidth));
  context.drawImage(bitmap, 0, 0);
  for (const area of areas) drawArea(context, area, canvas.width, canvas.height, unit);
  const scale = canvas.width / message.size[0];
  const nearestLast = [...message.detections].sort((a, b) => a.box[3] - b.box[3]);
  for (const found of nearestLast) drawBox(context, found, scale, unit, still.has(found.track));
  for (const found of nearestLast) nameBox(context, found, scale, unit);
}

export function inWords(message) {
  const counts = new Map();
  for (const found of message.detections) counts.set(found.label, (counts.get(found.label) ?? 0) + 1);
  return [...counts].map(([label, number]) => `${number} ${label}`).join(", ") || "nothing";
}
