/** How well the two tiers do: a state and one sentence for each, S3's for each bucket that is not well. */
import { h } from "./dom.js";
import { count, moment, span } from "./format.js";

/** @typedef {{tier: "disk"|"alt", subject: string, state: "normal"|"unstable"|"down"|"probing", since: number, reason: string}} TierHealth */

/** @type {Record<string, "good"|"warn"|"bad">} */
const TONES = { normal: "good", unstable: "warn", down: "bad", probing: "warn" };
const WORST = ["down", "probing", "unstable", "normal"];

/** @type {Record<string, Record<string, string>>} */
const SENTENCES = {
  disk: {
    normal: "The disk is well.",
    unstable: "The disk is slow or fails now and then. It is used with little patience, and copies that can wait are not made.",
    down: "The disk is down. Mail is read from S3, and new mail goes to S3 only.",
    probing: "The disk answers again and is being looked through. Until that is done, mail comes from S3.",
  },
  alt: {
    normal: "S3 answers.",
    unstable: "S3 is slow or fails now and then. It is asked, but nothing is tried twice.",
    down: "S3 is down. What is on disk is served; what only S3 has is answered “try again” at once.",
    probing: "S3 was down. One request at a time tries whether it is back; the others do not wait for it.",
  },
};

const READ_ONLY = "S3 takes no changes. New mail waits on this disk or is refused, as configured; mail is read as before.";

/** What the state means. The reason says which side of S3 it is about. @param {TierHealth} one */
const sentence = (one) => (one.state === "down" && /^changes: /.test(one.reason) ? READ_ONLY : SENTENCES[one.tier][one.state]);

/** What is worth a line: the disk, S3 as a whole when all is well, else each bucket that is not. @param {TierHealth[]} health @returns {TierHealth[]} */
export function worth(health) {
  const alt = health.filter((one) => one.tier === "alt");
  const troubled = alt.filter((one) => one.state !== "normal").sort((one, other) => WORST.indexOf(one.state) - WORST.indexOf(other.state));
  return [...health.filter((one) => one.tier === "disk"), ...(troubled.length ? troubled : alt.slice(0, 1))];
}

/** A tier nobody waits for. @param {TierHealth[]} health */
export const outage = (health) => health.some((one) => one.state === "down" || one.state === "probing");

/** @param {{health: TierHealth[], now: number}} status */
export function tiersHealth({ health, now }) {
  const shown = worth(health);
  if (!shown.length) return h("p.panel-note", {}, "How the tiers do is known to a running node alone.");
  const well = health.filter((one) => one.tier === "alt" && one.state === "normal").length;
  const buckets = health.filter((one) => one.tier === "alt").length;
  return h("dl.tiers", {}, ...shown.map((one) => line(one, now, buckets, well)));
}

/** @param {TierHealth} one @param {number} now @param {number} buckets @param {number} well */
function line(one, now, buckets, well) {
  const alt = one.tier === "alt";
  const normal = one.state === "normal";
  const tone = TONES[one.state];
  const name = alt && !normal && buckets > 1 ? `S3, bucket ${one.subject}` : alt ? "S3" : "Disk";
  const rest = alt && !normal && well ? ` ${count(well, "other bucket")} ${well === 1 ? "is" : "are"} well.` : "";
  const reasons = one.reason.split(/; (?=(?:reads|changes): )/).filter(Boolean);
  return h("div.tier-health", { dataset: { tone } },
    h("dt", {}, name),
    h("dd", {}, h("span.tag", { dataset: { tone }, title: moment(one.since) }, normal ? one.state : `${one.state} for ${span(now - one.since)}`),
      h("span.tier-says", {}, `${sentence(one)}${rest}`),
      ...reasons.map((reason) => h("span.beside", {}, reason))));
}
