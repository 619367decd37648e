/**
 * cmyk2rgb of Pillow (src/libImaging/Convert.c): no colour profile, 255 - k - c (255 - k) / 255.
 * @param inks [n, 4], 255 is full ink; written over
 * @returns [n, 3], at the start of the same memory: a large picture is not there twice
 */
export function cmykToRgb(inks: Uint8Array): Uint8Array {
  for (let from = 0, to = 0; from < inks.length; from += 4) {
    const light = 255 - (inks[from + 3] ?? 0);
    // A pixel is written up to the place of its own inks at most, so each of them is read before.
    const [red, green, blue] = [inks[from] ?? 0, inks[from + 1] ?? 0, inks[from + 2] ?? 0];
    inks[to++] = light - divide255(red * light);
    inks[to++] = light - divide255(green * light);
    inks[to++] = light - divide255(blue * light);
  }
  return inks.subarray(0, (inks.length / 4) * 3);
}

/** MULDIV255: exact rounding for products of two bytes. */
function divide255(product: number): number {
  const rounded = product + 128;
  return (rounded + (rounded >> 8)) >> 8;
}
