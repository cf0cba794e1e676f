import { OciError } from "../errors.js";
import { isSameName, isShortNameOf } from "../reference.js";

/** A candidate with the names it goes by. */
export interface Named<T> {
  readonly names: readonly string[];
  readonly item: T;
}

/** Every name of the candidates, sorted. */
export function sourceNames<T>(candidates: readonly Named<T>[]): string[] {
  return [...new Set(candidates.flatMap(({ names }) => names))].sort();
}

/**
 * The candidates of the wanted name: those called so, or, without a name, all if they are one image.
 * Throws {@link OciError} `ERR_OCI_CHOOSE_IMAGE`.
 */
export function chooseImage<T>(
  path: string,
  candidates: readonly Named<T>[],
  name: string | undefined,
): Named<T>[] {
  const names = sourceNames(candidates);
  const listed = names.length === 0 ? "its images have no names" : `it has ${names.join(", ")}`;
  if (name !== undefined) {
    for (const matches of [isSameName, isShortNameOf]) {
      const chosen = candidates.filter(({ names }) => names.some((own) => matches(name, own)));
      if (chosen.length > 0) return chosen;
    }
    throw new OciError(
      "ERR_OCI_CHOOSE_IMAGE",
      `${path} has no image named ${JSON.stringify(name)}; ${listed}`,
    );
  }
  const identities = new Set(candidates.map((candidate) => candidate.names[0]));
  if (identities.size <= 1) return [...candidates];
  throw new OciError(
    "ERR_OCI_CHOOSE_IMAGE",
    `${path} holds several images; ${listed}; choose one by its name`,
  );
}
