// The compressions of Parquet's pages, each into exactly as many bytes as the page's header says.
import { snappyUncompress, type CompressionCodec } from "hyparquet";
import {
  decompressBrotli,
  decompressLz4,
  decompressLz4Raw,
  decompressZstd,
  gunzip,
} from "hyparquet-compressors";
import { DamagedParquet } from "./parquet-checks.ts";

/** Writes into an array that is as long as the page should be, and returns what it has written. */
type Unpack = (packed: Uint8Array, size: number) => Uint8Array;

const UNPACK: Readonly<Partial<Record<CompressionCodec, Unpack>>> = {
  UNCOMPRESSED: (bytes) => bytes,
  SNAPPY(packed, size) {
    const bytes = new Uint8Array(size);
    snappyUncompress(packed, bytes);
    return bytes;
  },
  GZIP: (packed, size) => gunzip(packed, new Uint8Array(size)),
  BROTLI: decompressBrotli,
  // Into an array of our own: by itself it makes one as large as the packed data claims to be.
  ZSTD: (packed, size) => decompressZstd(packed, new Uint8Array(size)),
  LZ4: decompressLz4,
  LZ4_RAW: decompressLz4Raw,
};

export function unpackPage(
  packed: Uint8Array<ArrayBuffer>,
  size: number,
  codec: CompressionCodec,
): Uint8Array<ArrayBuffer> {
  const unpack = UNPACK[codec];
  if (!unpack) throw new DamagedParquet(`is packed by ${codec}, which is not known here`);
  if (size === 0) return new Uint8Array(0);
  const bytes = unpack(packed, size);
  if (bytes.length === size) return bytes as Uint8Array<ArrayBuffer>;
  throw new DamagedParquet(`unpacks to ${bytes.length} bytes where its page says ${size}`);
}
