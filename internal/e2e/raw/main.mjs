// node main.mjs URL TOPIC STORE FILE: uploads a file, unless the store says that this has
// been done, follows the topic, and prints what a person would see as lines of JSON. On
// standard input, {"do":"wake"} says that the network is back.
import { createInterface } from 'node:readline';
import { Follower } from './follow.mjs';
import { Store } from './store.mjs';
import { Upload } from './upload.mjs';

const [base, topic, path, file] = process.argv.slice(2);
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

const store = new Store(path);
const upload = new Upload(base, topic, file, store, tell);
const follower = new Follower(base, topic, store, tell);

createInterface({ input: process.stdin }).on('line', (line) => {
  if (JSON.parse(line).do === 'wake') {
    upload.backoff.wake();
    follower.backoff.wake();
  }
});
for (const work of [upload, follower]) {
  work.run().catch((error) => {
    tell({ event: 'error', text: error.message });
    process.exitCode = 1;
    process.stdin.pause();
  });
}
