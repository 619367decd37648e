/** In decimal MB, without the unit: `553.4`. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** `138,357,544` */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** Multiply-adds in 10^9, which torchvision's tables call GFLOPS: `15.470`. */
export function gflops(multiplyAdds: number): string {
  return (multiplyAdds / 1e9).toFixed(3);
}
