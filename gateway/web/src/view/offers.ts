import { hasEnded, type View } from '../client';

/** What can be asked of a job. */
export type Verb = 'pause' | 'resume' | 'cancel' | 'retry' | 'export' | 'remove';

/** What makes sense to ask of a job as it is; `hasFile`: its file has been uploaded and can be exported. */
export function offers(view: View, isRetried: boolean, hasFile = false): readonly Verb[] {
  const whole = view.parent === undefined; // children go with their parent
  const more: readonly Verb[] = hasFile && whole && canBeExported(view) ? ['export'] : [];
  if (hasEnded(view.state)) {
    const again: readonly Verb[] = !isRetried && canBeTriedAgain(view) ? ['retry'] : [];
    return whole ? [...again, ...more, 'remove'] : again;
  }
  if (view.canceling) return [];
  if (view.state === 'paused' || view.pausing) return ['resume', ...more, 'cancel'];
  // While a file arrives, pausing would stop nothing that can be seen.
  return view.state === 'receiving' ? ['cancel'] : ['pause', ...more, 'cancel'];
}

/** An analysis that has not failed reads a table, which may become a dataset. */
function canBeExported({ type, state }: View): boolean {
  return type === 'analysis' && state !== 'receiving' && state !== 'failed' && state !== 'canceled';
}

function canBeTriedAgain(view: View): boolean {
  // A child that is tried again would no longer be its parent's.
  if (view.state === 'succeeded' || view.parent !== undefined) return false;
  // Its handler says that no retry can cure it.
  if (view.error?.code === 'permanent') return false;
  return !neverArrived(view);
}

/** Of a job without its file there is nothing to try again. */
function neverArrived({ attempt, error, stage, progress }: View): boolean {
  if (error?.code === 'upload_expired' || error?.code === 'upload_void') return true;
  return !attempt && stage?.name === 'receive' && !!progress && progress.done < (progress.total ?? Infinity);
}
