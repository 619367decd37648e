import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';

/**
 * Keeps the connections whose TLS handshake is under way: `closeAllConnections` knows of them only once it is done.
 * @returns ends them
 */
export function trackHandshakes(server: Server): () => void {
  if (!(server instanceof TlsServer)) return () => {};
  /** By the client's address and port, which the socket below TLS has in common with the one above. */
  const open = new Map<string, Socket>();
  const nameOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket);
    open.set(name, socket);
    socket.once('close', () => {
      if (open.get(name) === socket) open.delete(name);
    });
  });
  server.on('secureConnection', (socket) => open.delete(nameOf(socket)));
  return () => {
    for (const socket of open.values()) socket.destroy();
  };
}
