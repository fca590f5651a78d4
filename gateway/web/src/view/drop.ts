/** Takes files that are dropped anywhere on the page, or picked. */
export function takeFiles(zone: HTMLElement, picker: HTMLInputElement, take: (files: File[]) => void, say: (text: string) => void): void {
  let depth = 0; // entering a child comes before leaving its parent
  const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false;
  const highlight = (on: boolean): void => {
    zone.classList.toggle('over', on);
    if (!on) depth = 0;
  };

  document.addEventListener('dragenter', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth++;
    highlight(true);
  });
  document.addEventListener('dragleave', (event) => {
    if (carriesFiles(event) && --depth <= 0) highlight(false);
  });
  // Without this the browser would open a file that is dropped beside the zone, and leave
  // the page.
  document.addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy';
  });
  document.addEventListener('drop', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    highlight(false);
    const { files, folders } = dropped(event.dataTransfer);
    say(folders > 0 ? 'A folder cannot be sent: drop the files that are in it.' : '');
    take(files);
  });
  picker.addEventListener('change', () => {
    say('');
    take([...(picker.files ?? [])]);
    picker.value = ''; // so that the same file can be picked again
  });
}

function dropped(data: DataTransfer | null): { files: File[]; folders: number } {
  const files: File[] = [];
  let folders = 0;
  for (const item of data?.items ?? []) {
    if (item.kind !== 'file') continue;
    const file = item.getAsFile();
    if (item.webkitGetAsEntry?.()?.isDirectory) folders++;
    else if (file) files.push(file);
  }
  return { files, folders };
}
