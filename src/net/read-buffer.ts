// One buffer into which all sockets of a listener read, one after the other, instead of a fresh one of 64 KiB for every read.
// Owns the buffer and the takeover of accepted sockets. Knows nothing of what the bytes mean.
// Invariant: a chunk is valid only while its `data` listeners run; the next read, of whichever socket, writes over it.
//
// Why: fresh buffers were the larger part of what V8 had to collect, whatever the size of the messages (bench transient-1k: 3.3 s of CPU
// per million messages with them, 1.8 without; large-1m: 5.2 and 4.3).
//
// Node has this for sockets that connect (`onread`), not for those that a server accepts. So the accepted socket's handle is put into a
// socket made with that option, as Node does itself when a socket comes from another process. Where the handle is not what we know, the
// accepted socket is used as it is.

import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';

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
    const onread: OnReadOpts = {
      buffer: this.bytes,
      callback: (length) => {
        socket.emit('data', this.bytes.subarray(0, length));
        return true;
      },
    };
    const options: TakeoverOptions = { handle, allowHalfOpen: accepted.allowHalfOpen, onread };
    const socket = new Socket(options);
    return socket;
  }
}
