import { hasEnded, type View } from '../client';

/** What can be asked of a job. */
export type Verb = 'pause' | 'resume' | 'cancel' | 'retry' | 'remove';

/** What makes sense to ask of a job as it is. */
export function offers(view: View, isRetried: boolean): readonly Verb[] {
  if (hasEnded(view.state)) {
    const again: readonly Verb[] = !isRetried && canBeTriedAgain(view) ? ['retry'] : [];
    return view.parent === undefined ? [...again, 'remove'] : again; // children go with their parent
  }
  if (view.canceling) return [];
  if (view.state === 'paused' || view.pausing) return ['resume', 'cancel'];
  // While a file arrives, pausing would stop nothing that can be seen.
  return view.state === 'receiving' ? ['cancel'] : ['pause', 'cancel'];
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
