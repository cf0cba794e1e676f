import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { OciError } from "./errors.js";
import { parseConfig, parseDockerManifest, parseIndex, parseManifest } from "./manifest.js";

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const digest = `sha256:${"a".repeat(64)}`;
const pointer = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 1 };

test("a manifest's layers may be tar, gzip or zstd of OCI or Docker, and nothing else", () => {
  const manifest = (mediaType: string) =>
    json({ schemaVersion: 2, config: pointer, layers: [{ ...pointer, mediaType }] });
  for (const mediaType of [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
  ]) {
    expect(parseManifest(manifest(mediaType), "m").layers).toHaveLength(1);
  }
  for (const mediaType of [
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/octet-stream",
    "",
  ]) {
    expect(() => parseManifest(manifest(mediaType), "m")).toThrow(
      expect.objectContaining({ code: "ERR_OCI_UNSUPPORTED_MEDIA" }),
    );
  }
});

test.each([
  ["another schema version", { schemaVersion: 1, config: pointer, layers: [] }],
  [
    "a digest that leads elsewhere",
    { schemaVersion: 2, config: { ...pointer, digest: "sha256:../../etc/passwd" }, layers: [] },
  ],
  ["a negative size", { schemaVersion: 2, config: { ...pointer, size: -1 }, layers: [] }],
  ["too many layers", { schemaVersion: 2, config: pointer, layers: Array(1001).fill(pointer) }],
  ["no config", { schemaVersion: 2, layers: [] }],
  ["no object", []],
])("a manifest with %s is refused", (_, value) => {
  expect(() => parseManifest(json(value), "m")).toThrow(
    expect.objectContaining({ code: "ERR_OCI_BAD_MANIFEST" }),
  );
});

test("what is not JSON, or not UTF-8, is refused", () => {
  for (const bytes of [Buffer.from("{"), Buffer.from([0x22, 0xff, 0x22]), Buffer.alloc(0)]) {
    expect(() => parseIndex(bytes, "i")).toThrow(
      expect.objectContaining({ code: "ERR_OCI_BAD_MANIFEST" }),
    );
  }
});

test("a config without any settings has sensible ones", () => {
  for (const config of [
    undefined,
    null,
    {},
    { Env: null, Cmd: null, ExposedPorts: null, WorkingDir: "" },
  ]) {
    expect(
      parseConfig(
        json({ architecture: "amd64", os: "linux", rootfs: { diff_ids: [] }, config }),
        "c",
      ).config,
    ).toEqual({
      platform: { os: "linux", architecture: "amd64" },
      env: {},
      cmd: [],
      entrypoint: [],
      workdir: "/",
      user: "",
      exposedPorts: [],
      volumes: [],
      labels: {},
    });
  }
});

test("the environment keeps = in values, names without a value and hostile names", () => {
  const config = { Env: ["A=1=2", "EMPTY", "A=3", "__proto__=x"] };
  const { env } = parseConfig(json({ rootfs: { diff_ids: [] }, config }), "c").config;
  expect(Object.entries(env)).toEqual([
    ["A", "3"],
    ["EMPTY", ""],
    ["__proto__", "x"],
  ]);
});

test("any JSON is parsed or refused with an OciError", () => {
  const parsers = [
    (bytes: Uint8Array) => parseIndex(bytes, "x"),
    (bytes: Uint8Array) => parseManifest(bytes, "x"),
    (bytes: Uint8Array) => parseConfig(bytes, "x"),
    (bytes: Uint8Array) => parseDockerManifest(bytes),
  ];
  const part = fc.oneof(
    fc.jsonValue(),
    fc.constant(pointer),
    fc.constant([pointer]),
    fc.constant(2),
  );
  const document = fc.record(
    { schemaVersion: part, config: part, layers: part, manifests: part, rootfs: part },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), document), fc.constantFrom(...parsers), (value, parse) => {
      try {
        parse(json(value));
      } catch (error) {
        if (!(error instanceof OciError)) throw error;
      }
    }),
    { numRuns: runs(1000), endOnFailure: true },
  );
});
