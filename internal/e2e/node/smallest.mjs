// node smallest.mjs FOLDER URL TOPIC runs the client of docs/protocol.md, "The smallest right
// client", which FOLDER has as follow.mjs, and tells of what its page would show.
import { pathToFileURL } from 'node:url';
import { require, tell } from './lines.mjs';

const [folder, url, topic] = process.argv.slice(2);
globalThis.WebSocket ??= require('ws').WebSocket;
const { follow } = await import(pathToFileURL(`${folder}/follow.mjs`).href);
follow(url, topic, {
  show: (job) => tell({ event: 'shown', text: `${job.title ?? job.type}: ${job.state}, ${job.percent} %` }),
  gone: (id) => tell({ event: 'gone', text: id }),
  say: (text) => tell({ event: 'said', text }),
});
