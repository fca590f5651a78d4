/** Bounds the first part after a request without a bound was refused. */
const firstBytes = 16 << 20;
/** The least part: a proxy that refuses as much is not made for uploads. */
const leastBytes = 64 << 10;
/** So many requests for the same bytes may be cut before parts become smaller. */
const cutsBefore = 2;

/**
 * How much of a file goes into one request. At first that is all. Proxies bound what they take,
 * nginx to 1 MiB unless its configuration says otherwise: they answer 413, or close the connection while the
 * request is still being sent. Each such answer halves the parts, and so does each loss of the
 * connection after which the gateway has no byte more than before, from the second on.
 */
export class PartSize {
  private offset = -1;
  private size = Infinity;
  private wasCut = false;
  private cuts = 0;

  /** `most` is what is known to pass, in bytes. */
  constructor(private most = Infinity) {}

  get bytes(): number {
    return this.most;
  }

  /** A request sends what is left of the file from an offset on, or a part of that. */
  begins(offset: number, left: number): void {
    this.cuts = this.wasCut && offset === this.offset ? this.cuts + 1 : 0;
    this.wasCut = false;
    this.offset = offset;
    this.size = Math.min(left, this.most);
  }

  /** A proxy refused the last request for its size. False if parts are as small as they get. */
  refused(): boolean {
    if (this.size <= leastBytes) return false;
    const below = 2 ** (Math.ceil(Math.log2(this.size)) - 1); // the power of two below size
    this.most = Math.max(leastBytes, Math.min(firstBytes, below));
    return true;
  }

  /** The last request lost its connection. */
  cut(): void {
    if (this.wasCut) return;
    this.wasCut = true;
    if (this.cuts + 1 >= cutsBefore) this.refused();
  }
}
