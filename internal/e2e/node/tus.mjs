// node tus.mjs URL TOPIC [CHUNKSIZE] FILE… uploads the files at the same time with tus-js-client,
// each in one request or in parts of CHUNKSIZE bytes.
import { createReadStream, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import vm from 'node:vm';
import { require, tell } from './lines.mjs';

const tus = require('tus-js-client');
vm.runInThisContext(readFileSync(new URL('tus-common.js', import.meta.url), 'utf8'));

const [base, topic, ...files] = process.argv.slice(2);
if (/^\d+$/.test(files[0])) globalThis.tidemarkChunkSize = Number(files.shift());
await Promise.all(files.map((path) =>
  globalThis.tidemarkUpload(tus, createReadStream(path), basename(path), new URL('/v1/uploads', base).href, topic, tell)));
tell({ event: 'done' });
