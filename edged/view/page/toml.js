// What is drawn, as it belongs in edged.toml.

export const NAME = /^[a-z0-9_-]{1,64}$/;

const rounded = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;

export function toml(camera, { kind, name, points, labels }) {
  const corners = points.map(([x, y]) => `[${rounded(x)}, ${rounded(y)}]`).join(", ");
  return [
    `# below [[camera]] name = ${JSON.stringify(camera)}`,
    `[[camera.${kind}]]`,
    ...(kind === "mask" ? [] : [`name = ${JSON.stringify(name)}`]),
    `points = [${corners}]`,
    ...(labels.length ? [`labels = ${JSON.stringify(labels).replaceAll(",", ", ")}`] : []),
    "",
  ].join("\n");
}

const side = (a, b, p) => (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);

function cross([a, b], [c, d]) {
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

// Why edged would refuse it; empty where it would not.
export function problem({ kind, name, points }, others) {
  const least = kind === "line" ? 2 : 3;
  if (points.length < least) return `${least - points.length} more point${least - points.length > 1 ? "s" : ""}`;
  const sides = points.map((point, index) => [point, points[(index + 1) % points.length]]);
  if (kind !== "line" && sides.some((one, index) => sides.slice(index + 1).some((other) => cross(one, other)))) {
    return "Its sides cross each other: give the corners in order, around the area.";
  }
  if (kind === "mask") return "";
  if (!NAME.test(name)) return "Give it a name of a-z, 0-9, _ and -.";
  if (others.some((each) => each.kind === kind && each.name === name)) return `There is a ${kind} of that name.`;
  return "";
}
