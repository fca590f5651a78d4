// A planted regression: from the first reload on, a client that has forgotten what it
// showed, and a server that falls back.
(() => {
  const reloaded = sessionStorage.getItem('reloaded') !== null;
  sessionStorage.setItem('reloaded', 'yes');
  if (!reloaded) return;
  localStorage.clear();
  const halved = (text) => text.replace(/"percent":([\d.]+)/g, (_, percent) => `"percent":${percent / 2}`);
  globalThis.WebSocket = class extends WebSocket {
    set onmessage(handler) {
      super.onmessage = handler && ((event) => handler({ data: halved(event.data) }));
    }
  };
})();
