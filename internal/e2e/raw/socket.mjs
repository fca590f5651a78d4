// A WebSocket client of what RFC 6455 asks for, on Node's own HTTP client.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';

const continuation = 0x0, text = 0x1, close = 0x8, ping = 0x9, pong = 0xa;
const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'; // of RFC 6455, section 1.3

/**
 * Opens a socket. `on` has `open()`, `text(string)` and `closed(code, reason)`; the last
 * comes exactly once, also when it never opened: 1006 is a loss without a close frame.
 */
export function connect(url, protocol, on) {
  const key = randomBytes(16).toString('base64');
  let stream;
  let over = false;

  const end = (code, reason) => {
    if (over) return;
    over = true;
    stream?.destroy();
    request.destroy();
    on.closed(code, reason);
  };
  const send = (opcode, payload) => {
    if (stream && !over) stream.write(frame(opcode, payload));
  };
  const take = (opcode, payload) => {
    switch (opcode) {
      case text:
        on.text(new TextDecoder('utf-8', { fatal: true }).decode(payload));
        break;
      case ping:
        send(pong, payload);
        break;
      case pong:
        break;
      case close: {
        const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        send(close, payload.subarray(0, 2));
        end(code, payload.subarray(2).toString());
        break;
      }
      default:
        throw new Error(`opcode ${opcode} was not asked for`);
    }
  };

  const request = http.request(url, {
    headers: {
      Connection: 'Upgrade', Upgrade: 'websocket',
      'Sec-WebSocket-Version': 13, 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Protocol': protocol,
    },
  });
  request.on('error', (error) => end(1006, error.message));
  request.on('response', (response) => end(1006, `answered ${response.statusCode} instead of an upgrade`));
  request.on('upgrade', (response, socket, head) => {
    const accept = createHash('sha1').update(key + guid).digest('base64');
    if (response.headers['sec-websocket-accept'] !== accept || response.headers['sec-websocket-protocol'] !== protocol) {
      socket.destroy();
      end(1006, 'not the handshake that was asked for');
      return;
    }
    stream = socket;
    stream.setNoDelay(true);
    const parse = parser(take);
    const feed = (bytes) => {
      try {
        if (!over) parse(bytes);
      } catch (error) {
        end(1002, error.message);
      }
    };
    stream.on('data', feed);
    stream.on('error', (error) => end(1006, error.message));
    stream.on('close', () => end(1006, 'the connection was lost'));
    on.open();
    feed(head);
  });
  request.end();
  return {
    send: (message) => send(text, Buffer.from(JSON.stringify(message))),
    end: () => end(1000, 'ended here'),
  };
}

// A client masks what it sends.
function frame(opcode, payload) {
  const mask = randomBytes(4);
  let head;
  if (payload.length < 126) {
    head = Buffer.from([0x80 | opcode, 0x80 | payload.length]);
  } else if (payload.length < 1 << 16) {
    head = Buffer.from([0x80 | opcode, 0x80 | 126, 0, 0]);
    head.writeUInt16BE(payload.length, 2);
  } else {
    throw new Error('no message of this client is as long');
  }
  return Buffer.concat([head, mask, payload.map((byte, i) => byte ^ mask[i % 4])]);
}

/** Returns a function that takes bytes as they come, and calls `take` for whole messages. */
function parser(take) {
  let waiting = Buffer.alloc(0);
  let message = []; // the fragments of a text message that is not whole yet
  const next = () => {
    if (waiting.length < 2) return false;
    const [first, second] = waiting;
    if (first & 0x70) throw new Error('an extension was not agreed on');
    if (second & 0x80) throw new Error('a server does not mask');
    let length = second & 0x7f;
    let at = 2;
    if (length === 126) {
      if (waiting.length < 4) return false;
      length = waiting.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (waiting.length < 10) return false;
      length = Number(waiting.readBigUInt64BE(2));
      at = 10;
    }
    if (length > 256 << 10) throw new Error(`a frame of ${length} bytes`);
    if (waiting.length < at + length) return false;
    const payload = waiting.subarray(at, at + length);
    const final = (first & 0x80) !== 0;
    const opcode = first & 0x0f;
    waiting = waiting.subarray(at + length);
    if (opcode >= close) {
      take(opcode, payload);
    } else {
      if ((opcode === continuation) !== message.length > 0) throw new Error('fragments out of order');
      if (opcode > text) throw new Error('a binary message');
      message.push(payload);
      if (final) {
        const whole = Buffer.concat(message);
        message = [];
        take(text, whole);
      }
    }
    return true;
  };
  return (bytes) => {
    waiting = Buffer.concat([waiting, bytes]);
    while (next());
  };
}
