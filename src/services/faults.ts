// Which failures a service can deal with by itself.
import { AbortedError } from "../base/error.ts";
import { DeviceLostError } from "../gpu/device.ts";

export function isDeviceLost(error: unknown): error is DeviceLostError {
  return error instanceof DeviceLostError;
}

export function isAborted(error: unknown): error is AbortedError {
  return error instanceof AbortedError;
}
