// One upload with tus-js-client, the same in a page and in Node. Resolves once the server
// has everything.
globalThis.tidemarkUpload = (tus, file, filename, endpoint, topic, tell) => new Promise((resolve, reject) => {
  const upload = new tus.Upload(file, {
    endpoint,
    metadata: { topic, type: 'analysis', filename, filetype: 'text/csv' },
    retryDelays: Array(40).fill(50),
    storeFingerprintForResuming: false,
    chunkSize: globalThis.tidemarkChunkSize ?? Infinity,
    onShouldRetry: (error) => {
      tell({ event: 'retry', text: String(error.message).slice(0, 300) });
      return true;
    },
    onUploadUrlAvailable: () => tell({ event: 'announced', filename, location: upload.url }),
    onAfterResponse: (request, response) => {
      const status = response.getStatus();
      if (status >= 400) tell({ event: 'refused', status, text: `${request.getMethod()} ${request.getURL()}: ${response.getBody()}` });
    },
    onError: reject,
    onSuccess: () => {
      tell({ event: 'uploaded', filename, location: upload.url });
      resolve();
    },
  });
  upload.start();
});
