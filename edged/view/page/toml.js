// What is drawn, as it belongs in edged.toml, and why edged would refuse it.

const NAME = /^[a-z0-9_-]{1,64}$/;
const MOST_POINTS = 200;

const rounded = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;
export const points = (area) => (area.kind === "line" ? area.points.slice(0, 2) : area.points).map(([x, y]) => [rounded(x), rounded(y)]);

export function toml(camera, area) {
  const corners = points(area).map(([x, y]) => `[${x}, ${y}]`).join(", ");
  return [
    `# below [[camera]] name = ${JSON.stringify(camera)}${area.changed ? "; other keys of the present one stay as they are" : ""}`,
    `[[camera.${area.kind}]]`,
    ...(area.kind === "mask" ? [] : [`name = ${JSON.stringify(area.name)}`]),
    `points = [${corners}]`,
    ...(area.labels.length ? [`labels = ${JSON.stringify(area.labels).replaceAll(",", ", ")}`] : []),
    "",
  ].join("\n");
}

const side = (a, b, p) => (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
const same = (a, b) => a[0] === b[0] && a[1] === b[1];
const within = (a, b, p) => Math.min(a[0], b[0]) <= p[0] && p[0] <= Math.max(a[0], b[0]) && Math.min(a[1], b[1]) <= p[1] && p[1] <= Math.max(a[1], b[1]);

function meet([a, b], [c, d]) {
  const sides = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (sides[0] * sides[1] < 0 && sides[2] * sides[3] < 0) return true;
  return [[0, a, b, c], [1, a, b, d], [2, c, d, a], [3, c, d, b]].some(([index, from, to, point]) => sides[index] === 0 && within(from, to, point));
}

function foldsBack(one, other) {
  const corner = same(one[1], other[0]) || same(one[1], other[1]) ? one[1] : one[0];
  const [a, b] = [one, other].map(([from, to]) => (same(from, corner) ? to : from));
  return side(corner, a, b) === 0 && (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]) > 0;
}

function ofPolygon(corners) {
  if (corners.every((each) => side(corners[0], corners[1], each) === 0)) return "Its points lie on one line: it encloses nothing.";
  const sides = corners.map((point, index) => [point, corners[(index + 1) % corners.length]]);
  for (let first = 0; first < sides.length; first += 1) {
    for (let second = first + 1; second < sides.length; second += 1) {
      const neighbours = second === first + 1 || (first === 0 && second === sides.length - 1);
      if (neighbours ? foldsBack(sides[first], sides[second]) : meet(sides[first], sides[second])) {
        return "Its sides cross each other: give the corners in order, around the area.";
      }
    }
  }
  return "";
}

// Why edged would refuse it; empty where it would not.
export function problem(area, others, classes) {
  const corners = points(area);
  const least = area.kind === "line" ? 2 : 3;
  if (corners.length < least) return `${least - corners.length} more point${least - corners.length > 1 ? "s" : ""}`;
  if (corners.length > MOST_POINTS) return `It has more than ${MOST_POINTS} points.`;
  const next = (index) => corners[(index + 1) % corners.length];
  if (corners.some((point, index) => same(point, next(index)))) return "Two points that follow each other are the same.";
  const shape = area.kind === "line" ? "" : ofPolygon(corners);
  if (shape) return shape;
  const unknown = area.labels.find((label) => classes.length && !classes.includes(label));
  if (unknown) return `The model does not know the class ${unknown}.`;
  if (area.kind === "mask") return "";
  if (!NAME.test(area.name)) return "Give it a name of a-z, 0-9, _ and -.";
  if (others.some((each) => each.kind === area.kind && each.name === area.name)) return `There is a ${area.kind} of that name.`;
  return "";
}
