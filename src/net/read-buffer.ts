// One buffer into which all sockets of a listener read, one after the other, instead of a fresh one of 64 KiB for every read; or, where
// whoever reads a socket wants it, a place of his own for its next read. Owns the buffer and the takeover of accepted sockets. Knows
// nothing of what the bytes mean.
// Invariant: a chunk is valid only while its `data` listeners run; the next read, of whichever socket, writes over it. Except one that was
// read to a place of the listener's own: nobody else writes there.
//
// Why: fresh buffers were the larger part of what V8 had to collect, whatever the size of the messages (bench transient-1k: 3.3 s of CPU
// per million messages with them, 1.8 without; large-1m: 5.2 and 4.3).
//
// Node has this for sockets that connect (`onread`), not for those that a server accepts. So the accepted socket's handle is put into a
// socket made with that option, as Node does itself when a socket comes from another process. Where the handle is not what we know, the
// accepted socket is used as it is.

import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { Duplex } from 'node:stream';

/** Bytes that one read can bring. */
const READ_BYTES = 64 * 1024;

/** What the types of Node leave out. */
interface Handle {
  useUserBuffer?(buffer: Uint8Array): void;
}
interface WithHandle {
  _handle?: Handle | null;
}
interface TakeoverOptions extends SocketConstructorOpts {
  readonly handle: Handle;
  readonly onread: OnReadOpts;
}

/** Says where the next read of a socket goes; null for the common buffer. Asked after each read. */
export type ReadPlace = () => Buffer | null;

interface Aim {
  place: ReadPlace | null;
}

/** Of the sockets that were taken over, where their reads go. */
const aims = new WeakMap<Duplex, Aim>();

/**
 * From the next read on, `place` says where each read of the stream goes, and how much it may bring at most. The memory must stay valid until
 * it is asked again. Without effect on streams that cannot do this: what they read comes as it always does.
 */
export function aimReads(stream: Duplex, place: ReadPlace): void {
  const aim = aims.get(stream);
  if (aim !== undefined) aim.place = place;
}

/** The buffer of one listener. */
export class ReadBuffer {
  private readonly bytes = Buffer.allocUnsafeSlow(READ_BYTES);

  /** A socket for the same connection whose `data` events show this buffer. Nothing may have been read or written before. */
  takeOver(accepted: Socket): Socket {
    const holder = accepted as Socket & WithHandle;
    const handle = holder._handle;
    if (handle === null || handle === undefined || typeof handle.useUserBuffer !== 'function')
      return accepted;
    // The one left behind has nothing it could close or read.
    holder._handle = null;
    const aim: Aim = { place: null };
    const onread: OnReadOpts = {
      buffer: () => (aim.place === null ? this.bytes : (aim.place() ?? this.bytes)),
      callback: (length, buffer) => {
        socket.emit('data', buffer.subarray(0, length));
        return true;
      },
    };
    const options: TakeoverOptions = { handle, allowHalfOpen: accepted.allowHalfOpen, onread };
    const socket = new Socket(options);
    aims.set(socket, aim);
    return socket;
  }
}
