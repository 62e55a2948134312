// The gateway's side of the protocol on Node.js and `ws`: see the README beside this folder.

import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';
import { Home, Refused, isObject, makeProfiles, readProfiles } from './home.js';

const BLOCK = 16;
const HANDSHAKE_LIMIT = 4 * 1024; // bytes of JSON before auth_ok
const REQUEST_LIMIT = 1024 * 1024; // and after it
const BEHIND_LIMIT = 1024 * 1024; // bytes that a session may leave unread before it is closed
const BATCH_LIMIT = 64 * 1024; // bytes of events that wait for the rest of the event loop's turn
const HANDSHAKE_TIME = 10_000;
const PING_EVERY = 15_000;
const SILENT_ROUNDS = 3; // of PING_EVERY, then the connection is dead
const BINARY = { binary: true, compress: false, mask: false, fin: true };

/** Fills the last block by PKCS#7. */
function pad(text) {
  const length = Buffer.byteLength(text);
  const missing = BLOCK - (length % BLOCK);
  const padded = Buffer.allocUnsafe(length + missing);
  padded.write(text);
  padded.fill(missing, length);
  return padded;
}

/** The text of a decrypted message, or null where its padding is wrong. */
function unpad(padded) {
  const count = padded[padded.length - 1];
  if (count < 1 || count > BLOCK) return null;
  const end = padded.length - count;
  for (let i = end; i < padded.length; i++) if (padded[i] !== count) return null;
  return padded.toString('utf8', 0, end);
}

/** AES-128-ECB. Blocks do not depend on one another, so that one context serves all messages of a key and direction. */
class Encryption {
  constructor(key) {
    this.encryptor = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
    this.decryptor = createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  seal(padded) {
    return this.encryptor.update(padded);
  }

  /** The text of a message, or null where it is no ciphertext of this key. */
  open(message) {
    if (message.length === 0 || message.length % BLOCK !== 0) return null;
    return unpad(this.decryptor.update(message));
  }
}

class Gateway {
  constructor(key, home) {
    this.key = key;
    this.home = home;
    this.sessions = new Set();
    this.lastEvent = 0;
    this.pending = []; // padded events, the same for all sessions
    this.pendingBytes = 0;
    this.flush = this.flush.bind(this);
  }

  /** Numbers and encodes an event once; it goes out with all that are made in this turn of the event loop. */
  report(data) {
    const event = pad(JSON.stringify({ id: ++this.lastEvent, type: 'event', event_type: 'state_changed', data }));
    if (this.pending.length === 0) setImmediate(this.flush);
    this.pending.push(event);
    this.pendingBytes += event.length;
    if (this.pendingBytes >= BATCH_LIMIT) this.flush();
  }

  flush() {
    if (this.pending.length === 0) return;
    const events = this.pending;
    const batch = events.length === 1 ? events[0] : Buffer.concat(events, this.pendingBytes);
    this.pending = [];
    this.pendingBytes = 0;
    for (const session of this.sessions) session.deliver(batch, events);
  }
}

/** One connection. `socket` is ours as well as `ws`'s, since the upgrade is handled here: it can be corked. */
class Session {
  constructor(gateway, ws, socket) {
    this.gateway = gateway;
    this.ws = ws;
    this.socket = socket;
    this.corked = false;
    this.silent = 0;
    this.nonce = randomBytes(BLOCK);
    this.encryption = new Encryption(gateway.key);
    this.receive = this.handshake;
    this.uncork = this.uncork.bind(this);
    this.deadline = setTimeout(() => this.fail(), HANDSHAKE_TIME);
    ws.on('message', (data, isBinary) => {
      this.silent = 0;
      if (isBinary) this.receive(data);
      else this.fail();
    });
    ws.on('pong', () => (this.silent = 0));
    ws.on('ping', () => (this.silent = 0));
    ws.on('error', () => ws.terminate());
    ws.on('close', () => {
      clearTimeout(this.deadline);
      gateway.sessions.delete(this);
    });
    this.send({ type: 'auth_required', data: { nonce: this.nonce.toString('base64') } });
  }

  send(message) {
    this.ws.send(this.encryption.seal(pad(JSON.stringify(message))), BINARY);
  }

  /** Sends a batch of events, encrypted by one call and written by one system call. */
  deliver(batch, events) {
    if (this.isBehind()) return;
    const sealed = this.encryption.seal(batch);
    this.socket.cork();
    let start = 0;
    for (const event of events) {
      const end = start + event.length;
      this.ws.send(sealed.subarray(start, end), BINARY);
      start = end;
    }
    this.socket.uncork();
  }

  isBehind() {
    if (this.ws.bufferedAmount <= BEHIND_LIMIT) return false;
    this.gateway.sessions.delete(this);
    this.ws.close(1013, 'too slow');
    return true;
  }

  fail() {
    this.ws.close(1008, 'authentication failed');
    this.receive = () => {};
  }

  handshake(data) {
    const text = data.length <= HANDSHAKE_LIMIT + BLOCK ? this.encryption.open(data) : null;
    const nonce = text === null ? null : this.nonceOf(text);
    if (nonce === null) return this.fail();
    clearTimeout(this.deadline);
    this.send({ type: 'auth_ok', data: { hmac: proof(this.gateway.key, nonce).toString('base64') } });
    const sessionKey = Buffer.allocUnsafe(BLOCK);
    for (let i = 0; i < BLOCK; i++) sessionKey[i] = this.nonce[i] ^ nonce[i];
    this.encryption = new Encryption(sessionKey);
    this.receive = this.request;
    this.gateway.flush(); // older events are none of this session's
    this.gateway.sessions.add(this);
  }

  /** The client's nonce, if its `auth` is right in every respect. */
  nonceOf(text) {
    const message = parse(text);
    const data = message?.type === 'auth' && isObject(message.data) ? message.data : {};
    const nonce = fromBase64(data.nonce);
    const claimed = fromBase64(data.hmac);
    const expected = proof(this.gateway.key, this.nonce);
    const right = claimed?.length === expected.length && timingSafeEqual(claimed, expected);
    return right && nonce?.length === BLOCK && !nonce.equals(this.nonce) ? nonce : null;
  }

  request(data) {
    const text = this.encryption.open(data);
    if (text === null) {
      this.ws.close(1008, 'does not decrypt');
      this.receive = () => {};
      return;
    }
    // Answers to all requests that came in one piece leave in one piece.
    if (!this.corked) {
      this.corked = true;
      this.socket.cork();
      process.nextTick(this.uncork);
    }
    const message = parse(text);
    if (message?.type === 'event' || message?.type === 'result' || this.isBehind()) return;
    this.send(this.answer(message));
  }

  uncork() {
    this.corked = false;
    this.socket.uncork();
  }

  answer(message) {
    // Larger integers than these are none that JavaScript reads exactly.
    const id = Number.isSafeInteger(message?.id) ? message.id : undefined;
    try {
      if (message === null) throw new Refused('invalid_request', 'no JSON object');
      if (id === undefined) throw new Refused('invalid_request', 'id is no integer');
      const result = this.result(message);
      return { id, type: 'result', success: true, result };
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      return { id: id ?? 0, type: 'result', success: false, error: refused.error };
    }
  }

  result({ type, data }) {
    const { home } = this.gateway;
    switch (type) {
      case 'get_devices':
        return home.devids();
      case 'get_schema':
        return home.schemas(data);
      case 'get_status':
        this.gateway.flush(); // so that no answer is overtaken by an older event
        return home.statuses(data);
      case 'set_value':
        for (const report of home.write(data)) this.gateway.report(report);
        return undefined;
      default:
        if (typeof type !== 'string') throw new Refused('invalid_request', 'type is no string');
        throw new Refused('unknown_type', `unknown type ${type}`);
    }
  }

  /** Pings a session that was silent, ends one that is dead. */
  look() {
    if (++this.silent > SILENT_ROUNDS) this.ws.terminate();
    else this.ws.ping();
  }
}

function proof(key, nonce) {
  return createHmac('sha256', key).update(nonce).digest();
}

/** Standard base64 of one spelling, or null. */
function fromBase64(text) {
  if (typeof text !== 'string') return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

function parse(text) {
  try {
    const message = JSON.parse(text);
    return isObject(message) ? message : null;
  } catch {
    return null;
  }
}

function readKey(text) {
  if (/^[0-9a-fA-F]{32}$/.test(text)) return Buffer.from(text, 'hex');
  if (/^[\x20-\x7e]{16}$/.test(text)) return Buffer.from(text, 'latin1');
  console.error('HEARTHGATE_KEY: expected 16 printable ASCII characters or 32 hexadecimal digits');
  process.exit(2);
}

function main() {
  const { values } = parseArgs({
    options: { devices: { type: 'string' }, prefix: { type: 'string', default: 'bench-' }, profiles: { type: 'string' } },
  });
  const profiles = values.profiles ? readProfiles(values.profiles) : makeProfiles(Number(values.devices ?? 0), values.prefix);
  const gateway = new Gateway(readKey(process.env.HEARTHGATE_KEY ?? ''), new Home(profiles));

  const http = createServer({ noDelay: true }, (_, response) => response.writeHead(426, { Upgrade: 'websocket' }).end());
  const wss = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: REQUEST_LIMIT + BLOCK });
  http.on('upgrade', (request, socket, head) => {
    wss.handleUpgrade(request, socket, head, (ws) => new Session(gateway, ws, socket));
  });
  const looks = setInterval(() => gateway.sessions.forEach((session) => session.look()), PING_EVERY);

  const stop = () => {
    clearInterval(looks);
    http.close();
    for (const ws of wss.clients) ws.close(1001, 'shutting down');
    setTimeout(() => process.exit(0), 1000).unref();
    if (wss.clients.size === 0) process.exit(0);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdin.once('end', stop).once('error', stop).resume();

  http.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
    console.log(`listening 127.0.0.1:${http.address().port}`);
  });
}

main();
