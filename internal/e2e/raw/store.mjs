// What the client keeps over its own end, in a file.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

export class Store {
  /** The topic's cursor, the views of its jobs by ID, the highest percent shown of each, and the address of the upload. */
  held = { cursor: '', views: {}, highest: {}, upload: '' };

  constructor(path) {
    this.path = path;
    try {
      this.held = JSON.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }

  save() {
    writeFileSync(`${this.path}.new`, JSON.stringify(this.held));
    renameSync(`${this.path}.new`, this.path);
  }
}
