import * as v from "valibot";
import { type Digest, isDigest } from "./digest.js";
import { OciError } from "./errors.js";
import type { Platform } from "./platform.js";

/** No JSON document of an image is larger; registries refuse manifests over this size too. */
export const MAX_DOCUMENT = 4 * 1024 * 1024;

export const indexTypes: ReadonlySet<string> = new Set([
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
]);
export const manifestTypes: ReadonlySet<string> = new Set([
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
]);
const layerType =
  /^application\/vnd\.(oci\.image\.layer\.v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(\.gzip|\.zstd)?)$/;
const foreignLayerType = /nondistributable|\.foreign\./;

/** A pointer to a blob. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly platform?: Platform;
}

const strings = v.nullish(v.record(v.string(), v.string()), {});
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const digest = v.pipe(v.string(), v.check(isDigest, "is not a sha256 or sha512 digest"));
const platformSchema = v.object({
  os: v.string(),
  architecture: v.string(),
  variant: v.optional(v.string()),
});
const descriptorSchema = v.object({
  mediaType: v.optional(v.string(), ""),
  digest,
  size,
  annotations: strings,
  platform: v.nullish(platformSchema),
});
const indexSchema = v.object({
  schemaVersion: v.literal(2),
  manifests: v.pipe(v.array(descriptorSchema), v.maxLength(10_000)),
});
const manifestSchema = v.object({
  schemaVersion: v.literal(2),
  config: descriptorSchema,
  layers: v.pipe(v.array(descriptorSchema), v.maxLength(1000)),
});
const stringList = v.nullish(v.array(v.string()), []);
const keySet = v.nullish(v.record(v.string(), v.unknown()), {});
const configSchema = v.object({
  os: v.optional(v.string(), "linux"),
  architecture: v.optional(v.string(), ""),
  variant: v.optional(v.string()),
  created: v.nullish(v.string()),
  rootfs: v.object({ diff_ids: v.pipe(v.array(digest), v.maxLength(1000)) }),
  config: v.nullish(
    v.object({
      Env: stringList,
      Cmd: stringList,
      Entrypoint: stringList,
      WorkingDir: v.nullish(v.string(), ""),
      User: v.nullish(v.string(), ""),
      ExposedPorts: keySet,
      Volumes: keySet,
      Labels: strings,
      StopSignal: v.nullish(v.string()),
    }),
  ),
});
const dockerManifestSchema = v.pipe(
  v.array(
    v.object({
      Config: v.string(),
      RepoTags: stringList,
      Layers: v.pipe(v.array(v.string()), v.maxLength(1000)),
    }),
  ),
  v.maxLength(10_000),
);

/** Parses and checks a JSON document; `what` names it in errors. */
function parse<T>(
  schema: v.BaseSchema<unknown, T, v.BaseIssue<unknown>>,
  bytes: Uint8Array,
  what: string,
): T {
  const bad = (why: string, cause?: unknown) =>
    new OciError(
      "ERR_OCI_BAD_MANIFEST",
      `${what} ${why}; the image is damaged or made by a faulty tool`,
      { cause },
    );
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw bad("is not JSON", error);
  }
  const result = v.safeParse(schema, json, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw bad(`is not valid at ${v.getDotPath(issue) ?? "its top"}: ${issue.message}`);
}

function descriptor(raw: v.InferOutput<typeof descriptorSchema>): Descriptor {
  const { mediaType, digest: of, size: length, annotations, platform } = raw;
  const base = { mediaType, digest: of, size: length, annotations: annotations ?? {} };
  return platform ? { ...base, platform: withVariant(platform, platform.variant) } : base;
}

function withVariant(platform: { os: string; architecture: string }, variant?: string): Platform {
  const { os, architecture } = platform;
  return variant ? { os, architecture, variant } : { os, architecture };
}

/** The descriptors of an index or manifest list. */
export function parseIndex(bytes: Uint8Array, what: string): Descriptor[] {
  return parse(indexSchema, bytes, what).manifests.map(descriptor);
}

/** The parts of a manifest; throws also `ERR_OCI_UNSUPPORTED_MEDIA` for layers of an unknown kind. */
export function parseManifest(
  bytes: Uint8Array,
  what: string,
): { config: Descriptor; layers: Descriptor[] } {
  const { config, layers } = parse(manifestSchema, bytes, what);
  for (const { mediaType } of layers) {
    if (layerType.test(mediaType)) continue;
    throw new OciError(
      "ERR_OCI_UNSUPPORTED_MEDIA",
      foreignLayerType.test(mediaType)
        ? `a layer of ${what} is of the kind ${mediaType}, which images only point to and do not contain`
        : `a layer of ${what} has the unknown media type ${JSON.stringify(mediaType.slice(0, 200))}; only tar layers, plain or with gzip or zstd, can be used`,
    );
  }
  return { config: descriptor(config), layers: layers.map(descriptor) };
}

/** The `manifest.json` of an archive of `docker save`. */
export function parseDockerManifest(
  bytes: Uint8Array,
): { config: string; tags: string[]; layers: string[] }[] {
  return parse(dockerManifestSchema, bytes, "manifest.json").map(
    ({ Config, RepoTags, Layers }) => ({
      config: Config,
      tags: RepoTags ?? [],
      layers: Layers,
    }),
  );
}

/** How an image wants to be run (OCI image specification, "Image Configuration"). */
export interface ImageConfig {
  readonly platform: Platform;
  /** Environment by name; of a name that comes twice the last value. */
  readonly env: Readonly<Record<string, string>>;
  /** Program and first arguments; empty when the image has none. */
  readonly entrypoint: readonly string[];
  /** Further or default arguments. */
  readonly cmd: readonly string[];
  /** Absolute path, `/` when the image says nothing. */
  readonly workdir: string;
  /** `user[:group]` in names or numbers; empty for root. */
  readonly user: string;
  /** Such as `80/tcp`. */
  readonly exposedPorts: readonly string[];
  /** Paths meant for data that outlives a container. */
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Such as `SIGTERM`; absent when the image says nothing. */
  readonly stopSignal?: string;
  /** RFC 3339 time of making, as written; absent when the image says nothing. */
  readonly created?: string;
}

/** The config of an image and the digests of its uncompressed layers, lowest first. */
export function parseConfig(
  bytes: Uint8Array,
  what: string,
): { config: ImageConfig; diffIds: Digest[] } {
  const raw = parse(configSchema, bytes, what);
  const run = raw.config;
  const env = (run?.Env ?? []).map((entry): [string, string] => {
    const equals = entry.indexOf("=");
    return equals === -1 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
  });
  return {
    diffIds: raw.rootfs.diff_ids,
    config: {
      platform: withVariant(raw, raw.variant),
      env: Object.fromEntries(env),
      entrypoint: run?.Entrypoint ?? [],
      cmd: run?.Cmd ?? [],
      workdir: run?.WorkingDir || "/",
      user: run?.User ?? "",
      exposedPorts: Object.keys(run?.ExposedPorts ?? {}),
      volumes: Object.keys(run?.Volumes ?? {}),
      labels: run?.Labels ?? {},
      ...(run?.StopSignal ? { stopSignal: run.StopSignal } : {}),
      ...(raw.created ? { created: raw.created } : {}),
    },
  };
}
