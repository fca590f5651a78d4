// Prints what is in a gzip file.
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const packed = Readable.toWeb(createReadStream(process.argv[2]));
await pipeline(Readable.fromWeb(packed.pipeThrough(new DecompressionStream("gzip"))), process.stdout);
