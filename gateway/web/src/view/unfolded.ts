import type { StringStorage } from '../client';

const most = 50;

/** Which jobs' children are unfolded: kept over a reload where the browser keeps anything. */
export class Unfolded {
  private readonly ids: Set<string>;

  constructor(private readonly key: string, private readonly storage?: StringStorage) {
    this.ids = new Set(this.load());
  }

  has(id: string): boolean {
    return this.ids.has(id);
  }

  set(id: string, is: boolean): void {
    this.ids.delete(id);
    if (is) this.ids.add(id);
    for (const oldest of this.ids) {
      if (this.ids.size <= most) break;
      this.ids.delete(oldest);
    }
    try {
      this.storage?.setItem(this.key, JSON.stringify([...this.ids]));
    } catch {
      // A storage that is full: it is remembered until the reload.
    }
  }

  private load(): string[] {
    try {
      const kept: unknown = JSON.parse(this.storage?.getItem(this.key) ?? '[]');
      return Array.isArray(kept) ? kept.filter((id) => typeof id === 'string').slice(-most) : [];
    } catch {
      return []; // a storage that is switched off, or what somebody else left there
    }
  }
}
