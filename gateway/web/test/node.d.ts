// The little of Node that the tests use, in place of a package of types.
declare module 'node:test' {
  export default function test(name: string, run: () => void | Promise<void>): void;
}
declare module 'node:assert/strict' {
  const assert: {
    equal(got: unknown, want: unknown, message?: string): void;
    deepEqual(got: unknown, want: unknown, message?: string): void;
    ok(value: unknown, message?: string): asserts value;
    rejects(running: Promise<unknown>, as: RegExp | object | ((error: unknown) => boolean), message?: string): Promise<void>;
  };
  export default assert;
}

declare module 'node:crypto' {
  export function createHash(name: string): { update(data: Uint8Array): { digest(form: 'hex'): string } };
}

declare module '*.md' {
  const text: string;
  export default text;
}
