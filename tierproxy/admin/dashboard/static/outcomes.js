/** Where the bytes of a get came from: names, colours, order. */

/** `hit` is null for what is on no side of a hit ratio. @type {{key: string, name: string, token: string, hit: boolean|null, about: string}[]} */
export const OUTCOMES = [
  { key: "memory", name: "memory", token: "mark-memory", hit: true, about: "from this machine's memory" },
  { key: "disk", name: "disk", token: "mark-disk", hit: true, about: "from this machine's disk" },
  { key: "stub", name: "stub", token: "mark-stub", hit: null, about: "head or tail of a mail whose body is not on this disk; S3 was not asked" },
  { key: "join", name: "shared fetch", token: "mark-join", hit: false, about: "shared a fetch from S3 that was under way" },
  { key: "fill", name: "S3, copy kept", token: "mark-fill", hit: false, about: "from S3; a copy was made on disk on the way" },
  { key: "pass", name: "S3, passed on", token: "mark-pass", hit: false, about: "from S3, without a copy" },
];

/** @param {string} key */
export function outcome(key) {
  return OUTCOMES.find((one) => one.key === key) ?? { key, name: key, token: "mark-other", hit: false, about: key };
}

/** Those that occur in `keys`, in our order, unknown ones last. @param {Iterable<string>} keys */
export function inOrder(keys) {
  const all = new Set(keys);
  const known = OUTCOMES.filter((one) => all.delete(one.key));
  return [...known, ...[...all].map(outcome)];
}
