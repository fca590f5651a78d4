// Fails unless each compressed file of dist is the file beside it.
import { readdir, readFile } from 'node:fs/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

const assets = new URL('../dist/assets/', import.meta.url);
for (const name of await readdir(assets)) {
  const decompress = name.endsWith('.br') ? brotliDecompressSync : name.endsWith('.gz') ? gunzipSync : undefined;
  if (!decompress) continue;
  const [short, whole] = await Promise.all([name, name.slice(0, -3)].map((each) => readFile(new URL(each, assets))));
  if (!decompress(short).equals(whole)) {
    console.error(`dist/assets/${name} is another file than the one beside it: run \`npm run build --prefix gateway/web\``);
    process.exitCode = 1;
  }
}
