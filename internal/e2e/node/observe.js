// Runs in each document before the page's own scripts, and tells of all that is painted.
(() => {
  const painted = new Map(); // by job, as JSON
  let badge, empty, rows;
  const tell = (event) => void globalThis.tidemarkSeen({ at: Date.now(), ...event });
  const shown = (node) => node !== null && node.checkVisibility();

  const look = () => {
    for (const node of document.querySelectorAll('[data-job][data-percent]')) {
      const job = node.dataset.job;
      const event = {
        job,
        percent: Number(node.dataset.percent),
        text: node.querySelector('.percent')?.textContent,
        bar: node.querySelector('.fill')?.style.transform,
        spoken: Number(node.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')),
        state: node.dataset.status,
        reason: [...node.querySelectorAll('.error')].filter(shown).map((each) => each.textContent.trim()).join(' '),
      };
      const text = JSON.stringify(event);
      if (painted.get(job) === text) continue;
      painted.set(job, text);
      tell({ event: 'painted', ...event });
    }
    const state = document.querySelector('#badge')?.dataset.state;
    if (state !== badge) tell({ event: 'badge', text: badge = state });
    const none = shown(document.querySelector('#empty'));
    if (none !== empty) tell({ event: 'empty', is: empty = none });
    const figures = document.querySelector('.profile .facts')?.textContent;
    if (figures !== rows) tell({ event: 'profile', text: rows = figures });
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  document.addEventListener('securitypolicyviolation', (event) => {
    tell({ event: 'violation', text: `${event.effectiveDirective} forbids ${event.blockedURI} in ${event.sourceFile}:${event.lineNumber} ${event.sample}` });
  });
})();
