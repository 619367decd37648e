/** The bytes of a safetensors file, its header given as it is. */
export function safetensorsFile(header: unknown, data: Uint8Array = new Uint8Array(0), claimedBytes?: bigint): Buffer {
  const json = Buffer.isBuffer(header) ? header : Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimedBytes ?? BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** Rows of float32 tensors with the offsets given. */
export function row(shape: readonly number[], begin: number, end: number, dtype = 'F32') {
  return { dtype, shape, data_offsets: [begin, end] };
}
