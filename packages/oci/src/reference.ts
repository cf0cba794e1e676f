import { isDigest } from "./digest.js";
import { OciError } from "./errors.js";

/** An image reference taken apart; no registry, namespace or tag is assumed. */
export interface Reference {
  /** Registry host with optional port, when the first part of the name looks like one. */
  readonly domain?: string;
  /** The rest of the name. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const domainLabel = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const domainPattern = new RegExp(
  `^(?:${domainLabel}(?:\\.${domainLabel})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`,
);
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const MAX_NAME = 255;
// Longer than any name, tag and digest together; patterns never see more.
const MAX_REFERENCE = MAX_NAME + 1 + 128 + 1 + 7 + 128;

function looksLikeDomain(part: string): boolean {
  return /[.:A-Z]/.test(part) || part === "localhost";
}

/**
 * Parses `[domain/]repository[:tag][@digest]` by the grammar of the OCI distribution specification and
 * the reference implementation. Throws {@link OciError} `ERR_OCI_BAD_REFERENCE`.
 */
export function parseReference(text: string): Reference {
  const bad = (why: string) =>
    new OciError(
      "ERR_OCI_BAD_REFERENCE",
      `${JSON.stringify(text.slice(0, 300))} is not an image reference: ${why}; write one like demo, debian:12 or host:5000/team/app:1.0`,
    );
  if (text.length > MAX_REFERENCE) throw bad("it is too long");
  const at = text.indexOf("@");
  const digest = at === -1 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw bad("what follows @ is not a digest");
  let name = at === -1 ? text : text.slice(0, at);
  let tag: string | undefined;
  const colon = name.lastIndexOf(":");
  if (colon > name.lastIndexOf("/")) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!tagPattern.test(tag)) throw bad("what follows : is not a tag");
  }
  if (name.length > MAX_NAME) throw bad(`its name has more than ${MAX_NAME} characters`);
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(0, slash));
  const domain = slash > 0 && looksLikeDomain(first) ? first : undefined;
  const repository = domain === undefined ? name : name.slice(slash + 1);
  if (domain !== undefined && !domainPattern.test(domain))
    throw bad(`${JSON.stringify(domain)} is not a host`);
  if (!repositoryPattern.test(repository)) {
    throw bad("names are lower-case letters and digits, separated by single . _ - or /");
  }
  return {
    ...(domain === undefined ? {} : { domain }),
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** Writes a reference out. */
export function formatReference({ domain, repository, tag, digest }: Reference): string {
  return (
    (domain === undefined ? "" : `${domain}/`) +
    repository +
    (tag === undefined ? "" : `:${tag}`) +
    (digest === undefined ? "" : `@${digest}`)
  );
}

/** One spelling for each name: `demo:latest` and `demo` are the same, and are written `demo`. */
export function canonicalName(text: string): string {
  const { tag, ...rest } = parseReference(text);
  return formatReference(tag === undefined || tag === "latest" ? rest : { ...rest, tag });
}

function normalized(name: string): string {
  try {
    return canonicalName(name);
  } catch {
    // OCI layouts may call their images anything.
    return name;
  }
}

/** True when two names mean the same, as `demo` and `demo:latest` do. */
export function isSameName(a: string, b: string): boolean {
  return normalized(a) === normalized(b);
}

/** True when `name` is the end of `full`: `debian:12` for `registry.example/library/debian:12`. */
export function isShortNameOf(name: string, full: string): boolean {
  return normalized(full).endsWith(`/${normalized(name)}`);
}
