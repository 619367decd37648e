/**
 * cmyk2rgb of Pillow (src/libImaging/Convert.c): no colour profile, 255 - k - c (255 - k) / 255.
 * @param inks [n, 4], 255 is full ink
 * @returns [n, 3]
 */
export function cmykToRgb(inks: Uint8Array): Uint8Array {
  const pixels = new Uint8Array((inks.length / 4) * 3);
  for (let from = 0, to = 0; from < inks.length; from += 4) {
    const light = 255 - (inks[from + 3] ?? 0);
    pixels[to++] = light - divide255((inks[from] ?? 0) * light);
    pixels[to++] = light - divide255((inks[from + 1] ?? 0) * light);
    pixels[to++] = light - divide255((inks[from + 2] ?? 0) * light);
  }
  return pixels;
}

/** MULDIV255: exact rounding for products of two bytes. */
function divide255(product: number): number {
  const rounded = product + 128;
  return (rounded + (rounded >> 8)) >> 8;
}
