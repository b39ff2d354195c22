// WebGPU's flags, by the numbers that its specification gives them.
//
// The globals with their names are there only where WebGPU is; memory is counted without it too.

export const USAGE = {
  mapRead: 0x0001,
  mapWrite: 0x0002,
  copySource: 0x0004,
  copyTarget: 0x0008,
  uniform: 0x0040,
  storage: 0x0080,
  queryResolve: 0x0200,
} as const;

export const COMPUTE_STAGE = 0x4;

export const MAP_READ = 0x1;

export const MAP_WRITE = 0x2;
