// Runs in each document before the page of docs/protocol.md, "The smallest right client", and
// tells of each text that it shows.
(() => {
  const seen = new Map();
  const look = () => {
    for (const node of document.querySelectorAll('#jobs li, #connection')) {
      const text = node.textContent;
      if (seen.get(node) === text) continue;
      seen.set(node, text);
      void globalThis.tidemarkSeen({ event: node.id === 'connection' ? 'said' : 'shown', text });
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
})();
