import type { View } from '../client';
import { fetchProfile } from '../api';
import { element, setHidden, setText } from './element';
import { profileNode } from './profile';
import { profileArtifact } from './profile-data';

/** What a job left, behind a button: a profile as such, anything else as JSON. */
export class ResultPanel {
  readonly toggle = element('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false' });
  readonly node: HTMLElement;
  private view: View | undefined;
  private isFilled = false;

  constructor(job: string) {
    this.node = element('div', { class: 'result', id: `result-${job}` });
    this.toggle.setAttribute('aria-controls', this.node.id);
    this.toggle.hidden = this.node.hidden = true;
    this.toggle.addEventListener('click', () => this.open(this.node.hidden === true));
  }

  /** Offers the result of a job that has ended, and opens it at once if `open` is set. */
  show(view: View, open: boolean): void {
    const has = view.state === 'succeeded' && view.result !== undefined && view.result !== null;
    this.view = view;
    setHidden(this.toggle, !has);
    setText(this.toggle, has ? this.label() : '');
    if (has && open) this.open(true);
  }

  private label(): string {
    const what = profileArtifact(this.view?.result) ? 'profile' : 'result';
    return `${this.node.hidden ? 'Show' : 'Hide'} ${what}`;
  }

  private open(open: boolean): void {
    setHidden(this.node, !open);
    this.toggle.setAttribute('aria-expanded', String(open));
    setText(this.toggle, this.label());
    if (open && !this.isFilled) void this.fill();
  }

  private async fill(): Promise<void> {
    const result = this.view?.result;
    const artifact = profileArtifact(result);
    this.isFilled = true;
    if (!artifact) {
      this.node.replaceChildren(element('pre', { tabindex: '0' }, JSON.stringify(result, null, 2)));
      return;
    }
    this.node.replaceChildren(element('p', { class: 'note' }, 'Loading the profile…'));
    try {
      this.node.replaceChildren(profileNode(await fetchProfile(artifact)));
    } catch (error) {
      this.isFilled = false;
      const again = element('button', { type: 'button', class: 'quiet' }, 'Try again');
      again.addEventListener('click', () => void this.fill());
      this.node.replaceChildren(element('p', { class: 'error', role: 'alert' },
        `The profile could not be loaded: ${(error as Error).message} `, again));
    }
  }
}
