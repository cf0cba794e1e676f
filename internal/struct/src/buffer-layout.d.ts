/** The part of buffer-layout 1.2.2 that is used here; the package ships no types. */
declare module "buffer-layout" {
  export class Layout<T = unknown> {
    constructor(span: number, property?: string);
    readonly span: number;
    decode(bytes: Buffer, offset?: number): T;
    encode(value: T, bytes: Buffer, offset?: number): number;
  }
  export class Structure<T> extends Layout<T> {
    offsetOf(property: string): number | undefined;
  }
  export function u8(property?: string): Layout<number>;
  export function u16(property?: string): Layout<number>;
  export function u32(property?: string): Layout<number>;
  export function s8(property?: string): Layout<number>;
  export function s16(property?: string): Layout<number>;
  export function s32(property?: string): Layout<number>;
  export function struct<T>(fields: readonly Layout[], property?: string): Structure<T>;
}
