// An upload by the tus protocol, 1.0, with nothing but HTTP.
import { createReadStream, statSync } from 'node:fs';
import http from 'node:http';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Backoff } from './backoff.mjs';

export class Upload {
  backoff = new Backoff();

  constructor(base, topic, path, store, tell) {
    Object.assign(this, { base, topic, path, store, tell, size: statSync(path).size });
  }

  /** Sends what the server lacks, as often as it takes, and resolves once it has everything. */
  async run() {
    for (;;) {
      try {
        const offset = await this.#offset();
        this.tell({ event: 'upload', offset, size: this.size });
        if (offset === this.size) break;
        await this.#send(offset);
        this.backoff.reset();
      } catch (error) {
        if (error.fatal) throw error;
        this.tell({ event: 'upload-lost', reason: error.message });
        await this.backoff.wait();
      }
    }
    this.tell({ event: 'uploaded', size: this.size });
  }

  /** Asks how much the server has; announces the upload if it has none. */
  async #offset() {
    const { held } = this.store;
    if (held.upload) {
      const answer = await this.#ask('HEAD', held.upload);
      if (answer.status === 200) return Number(answer.headers['upload-offset']);
      throw refusal(answer);
    }
    const metadata = { topic: this.topic, type: 'analysis', filename: basename(this.path), filetype: 'text/csv' };
    const encoded = Object.entries(metadata).map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`);
    const answer = await this.#ask('POST', '/v1/uploads', {
      'Upload-Length': this.size, 'Upload-Metadata': encoded.join(','), 'Content-Length': 0,
    });
    if (answer.status !== 201) throw refusal(answer);
    held.upload = answer.headers.location;
    this.store.save();
    return 0;
  }

  async #send(offset) {
    const answer = await this.#ask('PATCH', this.store.held.upload, {
      'Upload-Offset': offset, 'Content-Type': 'application/offset+octet-stream', 'Content-Length': this.size - offset,
    }, createReadStream(this.path, { start: offset }));
    if (answer.status !== 204) throw refusal(answer);
  }

  #ask(method, location, headers = {}, body) {
    return new Promise((resolve, reject) => {
      const request = http.request(new URL(location, this.base), {
        method, agent: false, headers: { 'Tus-Resumable': '1.0.0', ...headers },
      });
      request.on('error', reject);
      request.on('response', (response) => {
        const parts = [];
        response.on('data', (part) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() }));
      });
      if (body) pipeline(body, request).catch(reject);
      else request.end();
    });
  }
}

// Refusals that do not last: a request that was cut, that another one took over from, that
// began at a wrong offset, or came too early.
const passing = new Set(['upload_cut', 'upload_offset', 'upload_interrupted', 'upload_locked', 'too_many_uploads']);

function refusal({ status, headers, body }) {
  const { code, detail } = (headers['content-type'] ?? '').startsWith('application/problem+json') && body ? JSON.parse(body) : {};
  return Object.assign(new Error(`answered ${status} ${code}: ${detail}`), { fatal: status < 500 && !passing.has(code) });
}
