// Builds the page into dist, or into the folder that is named. What is there afterwards
// depends on the sources and the locked packages alone.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

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
await copyFile(join(here, 'src/index.html'), join(out, 'index.html'));
await copyFile(join(here, 'src/icon.svg'), join(assets, 'icon.svg'));
await writeFile(join(assets, 'licenses.txt'), await licenses(Object.keys(metafile.inputs)));

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
  return `app.js contains these packages.\n\n${texts.join(`\n${'-'.repeat(78)}\n\n`)}`;
}
