import { artifactPath, Problem } from '../api';
import { moment, type Artifact, type View } from '../client';
import { download, type Sink } from '../download';
import { filePicker, hasRoom, MemorySink, saveBlob } from '../sinks';
import { element, setAttribute, setHidden, setText } from './element';
import { aboutFile, hasExpired } from './file-words';
import { amount, exactly } from './format';
import { titleOf } from './words';

/** The files that a job has written, each with a link that downloads it. */
export class Files {
  readonly node = element('ul', { class: 'files' });
  private readonly items = new Map<string, FileItem>();

  constructor() {
    this.node.hidden = true;
  }

  /** Shows a job's files, but for the one that is shown in another way. */
  show(view: View, now: number, without?: string): void {
    if (without !== undefined) this.drop(without); // it was there before the result that names it
    for (const file of view.artifacts ?? []) {
      if (file.id === without || this.items.has(file.id)) continue;
      const item = new FileItem(file);
      this.items.set(file.id, item);
      this.node.append(item.node);
    }
    setAttribute(this.node, 'aria-label', `Files of ${titleOf(view)}`);
    setHidden(this.node, this.items.size === 0);
    this.tick(now);
  }

  /** A file is no longer kept. */
  gone(id: string): void {
    this.items.get(id)?.gone();
  }

  private drop(id: string): void {
    this.items.get(id)?.node.remove();
    this.items.delete(id);
  }

  /** Files expire with time alone. */
  tick(now: number): void {
    for (const item of this.items.values()) item.tick(now);
  }
}

/** A file and its download, of which there is one at a time. */
class FileItem {
  readonly node = element('li', { class: 'file' });
  private readonly about = element('span', { class: 'about' });
  private readonly link: HTMLAnchorElement;
  private readonly stop: HTMLButtonElement;
  private readonly fill = element('div', { class: 'fill' });
  private readonly bar: HTMLElement;
  private readonly count = element('span', { class: 'count' });
  private readonly said = element('span', { class: 'said', role: 'status' });
  private readonly trouble = element('p', { class: 'error', role: 'alert' });
  private running: AbortController | undefined;
  private isGone = false;

  constructor(private readonly file: Artifact) {
    const { name } = file;
    this.link = element('a', { class: 'button', href: artifactPath(file.id), download: name, 'aria-label': `Download ${name}` }, 'Download');
    this.stop = element('button', { type: 'button', class: 'quiet', 'aria-label': `Stop the download of ${name}` }, 'Stop');
    this.bar = element('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-label': `Download of ${name}` }, this.fill);
    this.node.append(element('span', { class: 'name' }, name), this.about, this.count, this.said, this.link, this.stop, this.bar, this.trouble);
    for (const node of [this.stop, this.bar, this.trouble, this.count]) node.hidden = true;
    const end = moment(file.expires_at);
    if (end) this.about.title = `kept until ${exactly(end)}`;
    this.link.addEventListener('click', (event) => this.clicked(event));
    this.stop.addEventListener('click', () => this.running?.abort());
  }

  tick(now: number): void {
    if (hasExpired(this.file, now)) this.gone();
    setText(this.about, aboutFile(this.file, now));
  }

  gone(): void {
    if (this.isGone) return;
    this.isGone = true;
    setAttribute(this.node, 'data-status', 'gone');
    setText(this.said, 'no longer kept');
    const hadFocus = document.activeElement === this.link;
    this.link.remove();
    if (hadFocus) this.node.closest<HTMLElement>('.job')?.focus({ preventScroll: true });
  }

  // A file that fits into memory is read by the page, which shows a bar. A larger one goes where the browser
  // lets a page write it. Whatever else was meant by the click, and without either, the link does by itself.
  private clicked(event: MouseEvent): void {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (this.running) {
      event.preventDefault();
      return;
    }
    const { name, size } = this.file;
    const pick = filePicker(name);
    if (hasRoom(size)) {
      event.preventDefault();
      void this.run(new MemorySink(size, (whole) => saveBlob(whole, name)));
    } else if (pick) {
      event.preventDefault();
      pick().then((sink) => this.run(sink), (error: Error) => {
        if (error.name !== 'AbortError') this.fail(error); // nothing was chosen
      });
    }
  }

  private async run(sink: Sink): Promise<void> {
    const { id, size, sha256 } = this.file;
    const running = this.running = new AbortController();
    this.paint(true, 0);
    this.stop.focus({ preventScroll: true });
    try {
      await download({ path: artifactPath(id), size, sha256 }, sink, {
        fetch: window.fetch.bind(window), random: Math.random, signal: running.signal,
        progressed: (done, isCut) => this.paint(true, done, isCut),
      });
      this.paint(false, size);
      setText(this.said, 'downloaded');
    } catch (error) {
      this.paint(false, 0);
      if (!running.signal.aborted) this.fail(error as Error);
    } finally {
      this.running = undefined;
    }
  }

  private fail(error: Error): void {
    if (error instanceof Problem && error.status === 410) this.gone();
    setText(this.trouble, `It could not be downloaded: ${error.message}`);
  }

  private paint(isRunning: boolean, done: number, isCut = false): void {
    const { size } = this.file;
    const hadFocus = document.activeElement === this.stop;
    setHidden(this.stop, !isRunning);
    setHidden(this.bar, !isRunning);
    setHidden(this.link, isRunning);
    if (hadFocus && !isRunning) this.link.focus({ preventScroll: true });
    setText(this.trouble, '');
    const counted = amount(done, size, 'bytes');
    setText(this.count, isRunning ? counted : '');
    setText(this.said, isRunning && isCut ? 'cut off, trying again' : '');
    setAttribute(this.bar, 'aria-valuetext', counted);
    const percent = size > 0 ? Math.floor((100 * done) / size) : 100;
    this.fill.style.transform = `scaleX(${percent / 100})`;
    setAttribute(this.bar, 'aria-valuenow', String(percent));
  }
}
