// Builds the page into dist, or into the folder that is named. What is there afterwards
// depends on the sources and the locked packages alone; the compressed files depend on Node's
// version as well. Script and style have a hash of their content in their names, so that
// browsers may keep them for good.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, 'dist'));
const assets = join(out, 'assets');

await rm(out, { recursive: true, force: true });
await mkdir(assets, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { app: 'src/main.ts', style: 'src/style.css' },
  outdir: assets,
  entryNames: '[name]-[hash]',
  // What the package offers as its module is written for browsers of ten years ago,
  // and twice the size.
  alias: { 'tus-js-client': './node_modules/tus-js-client/lib/browser/index.js' },
  bundle: true,
  format: 'esm',
  target: ['chrome111', 'firefox115', 'safari16.2'],
  minify: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
let index = await readFile(join(here, 'src/index.html'), 'utf8');
for (const path of Object.keys(metafile.outputs)) {
  const name = basename(path);
  index = index.replace(`"/assets/${name.replace(/-[^-]*(\.\w+)$/, '$1')}"`, `"/assets/${name}"`);
}
await writeFile(join(out, 'index.html'), index);
await copyFile(join(here, 'src/icon.svg'), join(assets, 'icon.svg'));
await writeFile(join(assets, 'licenses.txt'), await licenses(Object.keys(metafile.inputs)));
for (const name of await readdir(assets)) await compress(join(assets, name));

/** Writes a file's compressed forms beside it. */
async function compress(path) {
  const content = await readFile(path);
  const { BROTLI_PARAM_QUALITY, BROTLI_MAX_QUALITY, BROTLI_PARAM_SIZE_HINT } = constants;
  const params = { [BROTLI_PARAM_QUALITY]: BROTLI_MAX_QUALITY, [BROTLI_PARAM_SIZE_HINT]: content.length };
  await writeFile(`${path}.br`, brotliCompressSync(content, { params }));
  await writeFile(`${path}.gz`, gzipSync(content, { level: 9 }));
}

/** The licenses of the packages that went into the bundle. */
async function licenses(inputs) {
  const packages = new Set(inputs.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
  const texts = [];
  for (const name of [...packages].sort()) {
    const dir = join(here, 'node_modules', name);
    const { version } = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8'));
    const file = (await readdir(dir)).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} has no license file: the bundle must name its license`);
    texts.push(`${name} ${version}\n\n${(await readFile(join(dir, file), 'utf8')).trim()}\n`);
  }
  return `The script contains these packages.\n\n${texts.join(`\n${'-'.repeat(78)}\n\n`)}`;
}
