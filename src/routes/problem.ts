import type { FastifyReply } from 'fastify';
import { type ErrorCode, ServiceError } from '../errors.js';

/**
 * The errors that Fastify and its multipart plugin can raise for what a client sent, as our own. Any other error of
 * theirs is a fault of this program.
 */
export const frameworkErrors: Readonly<Record<string, { readonly code: ErrorCode; readonly detail: string }>> = {
  FST_ERR_NOT_FOUND: { code: 'not_found', detail: 'There is nothing at this address. GET / lists what there is.' },
  FST_ERR_BAD_URL: { code: 'bad_request', detail: 'The path of the URL has a broken percent-encoding.' },
  FST_ERR_INVALID_URL: { code: 'bad_request', detail: 'The URL cannot be read.' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'not_found', detail: 'No name is as long as the one in the path.' },
  FST_ERR_VALIDATION: { code: 'bad_request', detail: 'The request has not the form that is asked for.' },
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'request_too_large', detail: 'The body is larger than allowed.' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'unsupported_media_type',
    detail: 'The Content-Type is not of the form type/subtype.',
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'bad_request',
    detail: 'The body is not as long as Content-Length says.',
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'empty_body', detail: 'The body is empty.' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'bad_json', detail: 'The body is not JSON.' },
  FST_ERR_ROUTE_MISSING_CONTENT_TYPE: { code: 'bad_request', detail: 'This method needs a Content-Type.' },
  FST_ERR_ROUTE_MISSING_CONTENT: { code: 'empty_body', detail: 'This method needs a body.' },
  FST_ERR_HANDLER_TIMEOUT: {
    code: 'deadline_exceeded',
    detail: 'The request was not answered within the time allowed.',
  },
  FST_PARTS_LIMIT: { code: 'bad_multipart', detail: 'The multipart body has too many parts.' },
  FST_FILES_LIMIT: { code: 'too_many_images', detail: 'The multipart body has too many files.' },
  FST_FIELDS_LIMIT: { code: 'bad_multipart', detail: 'The multipart body has too many plain fields.' },
  FST_REQ_FILE_TOO_LARGE: { code: 'image_too_many_bytes', detail: 'A picture has more bytes than allowed.' },
  FST_PROTO_VIOLATION: {
    code: 'bad_multipart',
    detail: 'A part bears a name that JavaScript reserves, such as constructor: give it another.',
  },
  FST_INVALID_MULTIPART_CONTENT_TYPE: {
    code: 'unsupported_media_type',
    detail: 'The Content-Type is not multipart/form-data.',
  },
  FST_INVALID_JSON_FIELD_ERROR: {
    code: 'bad_multipart',
    detail: 'A part says that it is JSON, but is not. Send pictures as files.',
  },
  FST_MP_PREMATURE_CLOSE: { code: 'bad_multipart', detail: 'The multipart body ends too early.' },
};

/** What to answer for anything that was thrown. What nobody foresaw becomes `internal`, with the error as its cause. */
export function asServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  const known = frameworkErrors[(error as { code?: string } | undefined)?.code ?? ''];
  if (known !== undefined) return new ServiceError(known.code, known.detail, { cause: error });
  const detail = 'The server failed. Its log tells why, in the line with the id of this request.';
  return new ServiceError('internal', detail, { cause: error });
}

/** The members of RFC 9457 for one error. `type` is a name, not an address; docs/errors.md explains each code. */
export function problemOf({ code, title, status, message, members }: ServiceError) {
  return { type: `urn:vgg-serve:error:${code}`, title, status, detail: message, code, ...members };
}

/**
 * Answers with application/problem+json.
 * @param more members of this one problem (RFC 9457, section 3.2)
 */
export function sendProblem(reply: FastifyReply, error: ServiceError, more: Readonly<Record<string, unknown>> = {}) {
  const { request } = reply;
  request.record.error = error;
  if (error.endsConnection) reply.header('connection', 'close');
  if (error.status === 503) reply.header('retry-after', error.retryAfterSeconds ?? 1);
  return reply
    .code(error.status)
    .type('application/problem+json')
    .send({ ...problemOf(error), request_id: request.id, ...more });
}
