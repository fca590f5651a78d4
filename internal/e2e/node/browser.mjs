// node browser.mjs CHROMIUM PROFILE [INIT…] drives a page in the system's Chromium, whose
// profile, localStorage with it, lies in the folder PROFILE. The scripts INIT run in each
// document before the page's own.
import { readFileSync } from 'node:fs';
import { obey, require, tell } from './lines.mjs';

const { chromium } = require('playwright-core');
const [executablePath, profile, ...init] = process.argv.slice(2);
const here = (name) => new URL(name, import.meta.url).pathname;

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: false, // which of the two headless modes is the next line's to say
  args: [
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
  viewport: { width: 1200, height: 800 },
});
await context.exposeBinding('tidemarkSeen', (_, event) => tell(event));
for (const path of [here('observe.js'), ...init]) await context.addInitScript({ path });
const page = context.pages()[0] ?? await context.newPage();
const cdp = await context.newCDPSession(page);

page.on('console', (message) => {
  if (message.type() === 'error' || message.type() === 'warning') tell({ event: 'console', text: message.text(), where: message.location().url });
});
page.on('pageerror', (error) => tell({ event: 'console', text: String(error) }));
page.on('download', async (download) => tell({ event: 'download', text: download.suggestedFilename(), path: await download.path() }));
page.on('crash', () => tell({ event: 'error', text: 'the page crashed' }));

await obey({
  async open({ url }) {
    const answer = await page.goto(url);
    return { status: answer.status() };
  },
  /** Opens tabs that listen to an event stream with nothing but an EventSource, and tell of each event and each cut. */
  async streams({ site, path, tabs }) {
    for (const name of tabs) {
      const tab = await context.newPage();
      await tab.goto(`${site}/healthz`);
      await tab.evaluate(({ name, path }) => {
        const events = new EventSource(path);
        events.onmessage = ({ data, lastEventId }) => globalThis.tidemarkSeen({ event: 'streamed', tab: name, id: lastEventId, ...JSON.parse(data), frame: JSON.parse(data).type });
        events.onerror = () => globalThis.tidemarkSeen({ event: 'cut', tab: name });
      }, { name, path });
    }
  },
  /** Asks for something, as a script of the page would. */
  async ask({ path }) {
    return await page.evaluate(async (path) => ({ status: (await fetch(path)).status }), path);
  },
  async reload() {
    await page.reload();
  },
  /** Drops files from outside the browser on the page's middle. */
  async drop({ files }) {
    const data = { items: [], files, dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'drop']) {
      await cdp.send('Input.dispatchDragEvent', { type, x: 600, y: 200, data });
    }
  },
  /** Chooses files with the page's own button. Of files that are dropped together Chromium renames those of one name. */
  async pick({ files }) {
    await page.setInputFiles('#picker', files);
  },
  /** Takes the browser's word of a network, or gives it back; the connections are not its business. */
  async offline({ is }) {
    await context.setOffline(is);
  },
  async click({ selector }) {
    await page.click(selector);
  },
  async fill({ selector, text }) {
    await page.fill(selector, text);
  },
  async select({ selector, value }) {
    await page.selectOption(selector, value);
  },
  /** Clicks twice where an element is, the second time once the page shows what the first has done. */
  async double({ selector, until }) {
    await page.locator(selector).scrollIntoViewIfNeeded();
    const { x, y, width, height } = await page.locator(selector).boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2);
    for (const clickCount of [1, 2]) {
      await page.mouse.down({ clickCount });
      await page.mouse.up({ clickCount });
      await page.locator(until).waitFor();
    }
  },
  /** Holds a key down while an element has the focus, which repeats it once the page shows what it has done. */
  async hold({ selector, key, until }) {
    await page.locator(selector).focus();
    for (let i = 0; i < 5; i++) {
      await page.keyboard.down(key);
      await page.locator(until).waitFor();
    }
    await page.keyboard.up(key);
  },
  /** Presses a key while an element has the focus. */
  async key({ selector, key }) {
    await page.locator(selector).press(key);
  },
  /** Waits until an element has the focus. */
  async focused({ selector }) {
    await page.waitForFunction((wanted) => document.activeElement?.matches(wanted), selector);
  },
  async count({ selector }) {
    return { n: await page.locator(selector).count() };
  },
  async box({ selector }) {
    await page.locator(selector).first().scrollIntoViewIfNeeded(); // or it has the size that it had when it was last painted
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    return await page.locator(selector).first().boundingBox();
  },
  async title() {
    return { said: await page.title() };
  },
  async attribute({ selector, name }) {
    return { said: await page.locator(selector).first().getAttribute(name) };
  },
  /** Asks for what a link leads to, as the page would. */
  async follow({ selector }) {
    return await page.locator(selector).first().evaluate(async (link) => {
      const answer = await fetch(link.href);
      return { status: answer.status, body: await answer.text() };
    });
  },
  async text({ selector }) {
    return { said: await page.locator(selector).first().innerText() };
  },
  /** Waits until the page shows a text. */
  async shows({ selector, text }) {
    await page.locator(selector, { hasText: text }).first().waitFor();
  },
  /** Waits until the page has no such element any more. */
  async gone({ selector }) {
    await page.locator(selector).first().waitFor({ state: 'detached' });
  },
  async size({ width, height, scheme }) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    return {
      wide: await page.evaluate(async () => {
        const transitions = document.getAnimations().filter((each) => each instanceof CSSTransition);
        await Promise.allSettled(transitions.map((each) => each.finished)); // or colours are in between
        return document.documentElement.scrollWidth;
      }),
    };
  },
  /** Has axe look for what keeps people out. Its rules are all that it applies by itself. */
  async axe() {
    await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
    const violations = await page.evaluate(async () => (await globalThis.axe.run(document)).violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`)));
    return { violations };
  },
  /** Takes what the window shows, or the whole page, in a window as high: what is out of sight is not painted. */
  async picture({ path, window }) {
    const size = page.viewportSize();
    for (let i = 0; i < 3 && !window; i++) { // what comes into sight may be higher than was thought
      await page.setViewportSize({ ...size, height: await page.evaluate(() => document.documentElement.scrollHeight) });
    }
    // Without the scrollbar. A style that hides it would break the page's Content-Security-Policy.
    const [width, height] = await page.evaluate(() => [document.documentElement.clientWidth, innerHeight]);
    await page.screenshot({ path, animations: 'disabled', clip: window ? { x: 0, y: 0, width, height } : undefined });
    await page.setViewportSize(size);
  },
  /** Uploads the files with tus-js-client, as it is published, from within the page. */
  async tus({ files, topic }) {
    await page.evaluate(readFileSync(require.resolve('tus-js-client/dist/tus.js'), 'utf8'));
    await page.evaluate(() => {
      const input = Object.assign(document.createElement('input'), { type: 'file', multiple: true, id: 'e2e-files' });
      document.body.append(input);
    });
    await page.setInputFiles('#e2e-files', files);
    await page.evaluate(readFileSync(here('tus-common.js'), 'utf8'));
    await page.evaluate((to) => Promise.all([...document.querySelector('#e2e-files').files].map((file) =>
      globalThis.tidemarkUpload(globalThis.tus, file, file.name, new URL('/v1/uploads', location.href).href, to, globalThis.tidemarkSeen))), topic);
  },
  async close() {
    await context.close();
  },
});
await context.close(); // once more does no harm
process.exit();
