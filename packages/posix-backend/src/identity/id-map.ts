import { PosixBackendError } from "../error.js";

/** What becomes of the ids `first` to `last`. */
interface Range {
  readonly first: number;
  readonly last: number;
  /** What `first` becomes; undefined: they are refused. */
  readonly target: number | undefined;
  /** All become `target`, instead of one each. */
  readonly squash: boolean;
}

/** (uid_t) -1 is no id. */
const LARGEST_ID = 0xffff_fffe;

const forms: ReadonlyMap<string, string> = new Map([
  ["map", "GUEST:HOST:COUNT"],
  ["guest", "GUEST:HOST:COUNT"],
  ["host", "HOST:GUEST:COUNT"],
  ["squash-guest", "GUEST:HOST:COUNT"],
  ["squash-host", "HOST:GUEST:COUNT"],
  ["forbid-guest", "GUEST:COUNT"],
]);

function invalid(rule: string, why: string): PosixBackendError {
  return new PosixBackendError("ERR_POSIX_OPTION", `id translation rule "${rule}": ${why}`);
}

function parseRange(rule: string, type: string, fields: readonly string[]): Range {
  const numbers = fields.map((field) => (/^\d{1,10}$/.test(field) ? Number(field) : Number.NaN));
  const forbids = type === "forbid-guest";
  const [first = Number.NaN, second = Number.NaN] = numbers;
  const count = forbids ? second : (numbers[2] ?? Number.NaN);
  const form = forms.get(type);
  if (form === undefined) throw invalid(rule, `use one of ${[...forms.keys()].join(", ")}`);
  const wrong = numbers.some((number) => Number.isNaN(number)) || count < 1;
  if (wrong || fields.length !== form.split(":").length) {
    throw invalid(rule, `give ${type}:${form}, in numbers, of which COUNT is above 0`);
  }
  const last = first + count - 1;
  const squash = type.startsWith("squash-");
  const lastTarget = forbids ? 0 : second + (squash ? 0 : count - 1);
  if (last > LARGEST_ID || lastTarget > LARGEST_ID) {
    throw invalid(rule, `ids end at ${LARGEST_ID}`);
  }
  return { first, last, target: forbids ? undefined : second, squash };
}

function insert(ranges: Range[], range: Range, rule: string): void {
  const at = ranges.findIndex((other) => other.first > range.first);
  const index = at < 0 ? ranges.length : at;
  const before = ranges[index - 1];
  const after = ranges[index];
  if (
    (before !== undefined && before.last >= range.first) ||
    (after?.first ?? Infinity) <= range.last
  ) {
    throw invalid(rule, "an earlier rule speaks of some of these ids already");
  }
  ranges.splice(index, 0, range);
}

function translate(ranges: readonly Range[], id: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = ranges[middle] as Range;
    if (id > range.last) low = middle + 1;
    else if (id < range.first) high = middle;
    else if (range.target === undefined) return -1;
    else return range.squash ? range.target : range.target + (id - range.first);
  }
  return id;
}

/**
 * Translates user ids, or group ids, between a client and the host, by the rules of virtiofsd's
 * `--translate-uid`. The two directions are independent; an id of which no rule speaks stays as it is.
 */
export class IdMap {
  readonly #toHost: Range[] = [];
  readonly #toGuest: Range[] = [];

  /** Throws `PosixBackendError` `ERR_POSIX_OPTION`. */
  constructor(rules: readonly string[]) {
    for (const rule of rules) {
      const [type = "", ...fields] = rule.trim().split(":");
      const range = parseRange(rule, type, fields);
      if (type === "host" || type === "squash-host") insert(this.#toGuest, range, rule);
      else insert(this.#toHost, range, rule);
      if (type === "map" && range.target !== undefined) {
        const last = range.target + (range.last - range.first);
        insert(
          this.#toGuest,
          { first: range.target, last, target: range.first, squash: false },
          rule,
        );
      }
    }
  }

  /** The host's id for one of the client; -1 for one that the client may not use. */
  toHost(id: number): number {
    return translate(this.#toHost, id);
  }

  toGuest(id: number): number {
    return translate(this.#toGuest, id);
  }
}
