/** A key that makes a request that is sent again, after its answer was lost, the same one. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('-');
}
