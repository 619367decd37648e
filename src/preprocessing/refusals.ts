import { ServiceError } from '../errors.js';

export function notAllowed(what: string): ServiceError {
  return new ServiceError('format_not_allowed', `${what} Send JPEG, PNG or WebP: convert it first.`);
}

export function truncated(format: string, bytes: Uint8Array): ServiceError {
  const detail = `The ${format} file ends after ${bytes.length} bytes, before its picture does: send the whole file.`;
  return new ServiceError('image_truncated', detail);
}

export function corrupt(format: string, reason: string): ServiceError {
  return new ServiceError('image_corrupt', `The ${format} file is damaged: ${reason}.`);
}

export function shuttingDown(): ServiceError {
  return new ServiceError('shutting_down', 'The server is being shut down and takes no new pictures.');
}

export function clientClosed(): ServiceError {
  return new ServiceError('client_closed_request', 'The request was closed before its picture was read.');
}
