import { artifactPath, fetchProfile, jobPath } from '../api';
import type { View } from '../client';
import { datasetType } from '../datasets';
import { DatasetPanel, type DatasetActions } from './dataset';
import { element, setAttribute, setHidden, setText } from './element';
import type { Files } from './files';
import { profileNode } from './profile';
import { profileArtifact } from './profile-data';
import { titleOf } from './words';

/** What a job left, behind a button: a profile and a dataset as such, anything else as JSON. */
export class ResultPanel {
  readonly toggle = element('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false' });
  readonly node: HTMLElement;
  /** The level of its headings. It counts once it is filled. */
  level = 4;
  private view: View | undefined;
  private isFilled = false;
  private dataset: DatasetPanel | undefined;

  /** `files` are in the panel where there is more to read than they. */
  constructor(job: string, private readonly files: Files, private readonly datasets: DatasetActions, private readonly toggled: () => void) {
    this.node = element('div', { class: 'result', id: `result-${job}` });
    this.toggle.setAttribute('aria-controls', this.node.id);
    this.toggle.hidden = this.node.hidden = true;
    this.toggle.addEventListener('click', () => this.open(!this.isOpen));
  }

  get isOpen(): boolean {
    return !this.node.hidden;
  }

  close(): void {
    if (this.isOpen) this.open(false);
  }

  /** Offers the result of a job that has ended, and asks whether it opens at once. */
  show(view: View, opens: () => boolean): void {
    const has = view.state === 'succeeded' && view.result !== undefined && view.result !== null;
    this.view = view;
    setHidden(this.toggle, !has);
    if (!has) return;
    if (this.kind !== 'result' && !this.isFilled) this.node.append(this.files.node);
    this.paint();
    if (opens()) this.openFully();
  }

  /** Opens the result, if there is one, and of a dataset the form for exports. */
  openFully(): void {
    if (this.toggle.hidden) return;
    this.open(true);
    this.dataset?.openExport(true, false);
  }

  private get kind(): string {
    if (this.datasetID !== undefined) return 'dataset';
    return profileArtifact(this.view?.result) ? 'profile' : 'result';
  }

  /** The dataset that the job has made, if it has made one. */
  private get datasetID(): string | undefined {
    const id = (this.view?.result as { readonly dataset?: unknown } | undefined)?.dataset;
    return this.view?.type === datasetType && typeof id === 'string' ? id : undefined;
  }

  private get title(): string {
    return this.view ? titleOf(this.view) : '';
  }

  private paint(): void {
    const text = `${this.isOpen ? 'Hide' : 'Show'} ${this.kind}`;
    setText(this.toggle, text);
    setAttribute(this.toggle, 'aria-label', `${text} of ${this.title}`);
    setAttribute(this.toggle, 'aria-expanded', String(this.isOpen));
  }

  private open(open: boolean): void {
    setHidden(this.node, !open);
    this.paint();
    this.toggled();
    if (open && !this.isFilled) void this.fill();
  }

  /** What leads to the job itself, after links to what it left. */
  private links(...more: HTMLAnchorElement[]): HTMLElement {
    const id = this.view?.id ?? '';
    return element('p', { class: 'links' }, ...more,
      element('a', { href: jobPath(id), target: '_blank', rel: 'noopener' }, `Job ${id} as JSON`));
  }

  /** Leads to the file itself, if it was uploaded. */
  private file(): HTMLAnchorElement[] {
    if (!this.view || (this.view.result as { readonly uploaded?: unknown } | undefined)?.uploaded !== true) return [];
    return [element('a', { href: `${jobPath(this.view.id)}/upload`, download: '', 'aria-label': `Download the file ${this.title}` }, 'Download the file')];
  }

  private async fill(): Promise<void> {
    const result = this.view?.result;
    const artifact = profileArtifact(result);
    this.isFilled = true;
    if (this.datasetID !== undefined) {
      this.dataset = new DatasetPanel(this.datasetID, this.title, this.datasets);
      this.node.replaceChildren(this.dataset.node, this.files.node, this.links());
      return;
    }
    if (!artifact) {
      const text = element('pre', { tabindex: '0', role: 'region', 'aria-label': `Result of ${this.title}` }, JSON.stringify(result, null, 2));
      this.node.replaceChildren(text, this.links());
      return;
    }
    this.node.replaceChildren(element('p', { class: 'note' }, 'Loading the profile…'));
    try {
      const profile = profileNode(await fetchProfile(artifact), { title: this.title, level: this.level });
      const link = element('a', { href: artifactPath(artifact), download: artifact, 'aria-label': `Download the profile of ${this.title}` }, 'Download the profile');
      this.node.replaceChildren(profile, this.files.node, this.links(link, ...this.file()));
    } catch (error) {
      this.isFilled = false;
      const again = element('button', { type: 'button', class: 'quiet', 'aria-label': `Try again to load the profile of ${this.title}` }, 'Try again');
      again.addEventListener('click', () => void this.fill());
      this.node.replaceChildren(element('p', { class: 'error', role: 'alert' },
        `The profile could not be loaded: ${(error as Error).message} `, again));
    }
  }
}
