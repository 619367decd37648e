import type { IncomingMessage } from 'node:http';

/** What Node's parser of HTTP calls, under numbers that its class names. It has no public form. */
interface Parser {
  [callback: number]: unknown;
  readonly constructor: { readonly kOnBody?: unknown; readonly kOnMessageComplete?: unknown };
}

/**
 * What is still to come of the body is read off the connection and goes nowhere; the request ends when the body does. Node
 * by itself would first copy each piece into a buffer of its own: with thousands of bodies a minute those buffers, which V8
 * counts as memory outside of its heap, make it collect the whole heap again and again and forget the code it has
 * compiled. Where a version of Node has its parser made otherwise, the body is dropped as Node does it.
 */
export function dropBody({ socket }: IncomingMessage): void {
  const { parser } = socket as { readonly parser?: Parser | null };
  const { kOnBody, kOnMessageComplete } = parser?.constructor ?? {};
  if (!parser || typeof kOnBody !== 'number' || typeof kOnMessageComplete !== 'number') return;
  const [onBody, onComplete] = [parser[kOnBody], parser[kOnMessageComplete]];
  if (typeof onBody !== 'function' || typeof onComplete !== 'function') return;
  // Parsers are used again, by the next request and by other connections: this one is as it was at the end of the body, or
  // of the connection if that is first.
  const restore = () => {
    parser[kOnBody] = onBody;
    parser[kOnMessageComplete] = onComplete;
    socket.off('close', restore);
  };
  parser[kOnBody] = null;
  parser[kOnMessageComplete] = function (this: unknown) {
    restore();
    return Reflect.apply(onComplete, this, []);
  };
  // Before Node's own listener, which gives the parser away.
  socket.prependListener('close', restore);
}
