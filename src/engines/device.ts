/** `auto`: a GPU where one is really used, else the CPU. `gpu`: the first one. A list: one process on each of these GPUs. */
export type DeviceChoice = 'auto' | 'cpu' | 'gpu' | readonly number[];
