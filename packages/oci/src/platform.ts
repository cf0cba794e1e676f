import { OciError } from "./errors.js";

/** An operating system and CPU, in Go's names as images use them. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Such as `v8`; absent where it makes no difference. */
  readonly variant?: string;
}

const architectures: Readonly<Record<string, string>> = {
  x64: "amd64",
  ia32: "386",
  arm64: "arm64",
  arm: "arm",
  ppc64: "ppc64le",
  riscv64: "riscv64",
  s390x: "s390x",
  loong64: "loong64",
};

/** Linux on the CPU of this process. */
export function defaultPlatform(): Platform {
  return { os: "linux", architecture: architectures[process.arch] ?? process.arch };
}

/** Parses `os/architecture[/variant]`. Throws {@link OciError} `ERR_OCI_BAD_REFERENCE`. */
export function parsePlatform(text: string): Platform {
  const parts = /^([a-z0-9_.-]{1,64})\/([a-z0-9_.-]{1,64})(?:\/([a-z0-9_.-]{1,64}))?$/.exec(text);
  const [, os, architecture, variant] = parts ?? [];
  if (os === undefined || architecture === undefined) {
    throw new OciError(
      "ERR_OCI_BAD_REFERENCE",
      `${JSON.stringify(text.slice(0, 100))} is not a platform; write one like linux/amd64 or linux/arm/v7`,
    );
  }
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

/** Writes a platform as {@link parsePlatform} reads it. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

// arm64 has one variant in use and is mostly written without it.
const variantOf = ({ architecture, variant }: Platform) =>
  variant ?? (architecture === "arm64" ? "v8" : undefined);

/** True when an image for `offered` is what was `wanted`; without a wanted variant any will do. */
export function platformMatches(wanted: Platform, offered: Platform): boolean {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return false;
  return wanted.variant === undefined || variantOf(wanted) === variantOf(offered);
}
