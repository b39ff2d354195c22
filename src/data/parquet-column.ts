// One column of a Parquet row group to values, page by page. hyparquet decodes; but it believes what a file says
// of itself, and a damaged one can make it loop without end or fill the memory. So every number that a loop or
// an allocation of its goes by is checked here first, against the bytes that are really there.
import type {
  ColumnMetaData,
  DataPageHeader,
  DecodedArray,
  PageHeader,
  ParquetParsers,
  SchemaTree,
} from "hyparquet";
import { parquetHeader, readPage } from "hyparquet/src/column.js";
import { convert, DEFAULT_PARSERS } from "hyparquet/src/convert.js";
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from "hyparquet/src/schema.js";
import { checkValues, DamagedParquet, skipRuns, within } from "./parquet-checks.ts";
import { unpackPage } from "./parquet-unpack.ts";

/** Values of one column in one row group, nulls and the items of lists among them. */
export const VALUES_LIMIT = 1 << 24;
/** Of all pages of a column in a row group, unpacked. */
export const COLUMN_LIMIT_BYTES = 2 ** 30;
/** Of one page, unpacked. */
const PAGE_LIMIT_BYTES = 2 ** 28;

export interface ParquetColumn {
  readonly metadata: ColumnMetaData;
  /** From the root to the column. */
  readonly schemaPath: SchemaTree[];
}

/** A page whose levels and values are unpacked. */
interface Page {
  readonly header: PageHeader;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Decodes all pages in `bytes`, which are the column's. Lists come as arrays; bytes that are not marked as
 * text stay bytes. Throws a DamagedParquet, or whatever hyparquet throws at what it cannot decode.
 */
export function readColumnPages(
  bytes: Uint8Array<ArrayBuffer>,
  column: ParquetColumn,
): DecodedArray[] {
  const total = Number(column.metadata.num_values);
  const decode = createDecoder(column);
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset: 0 };
  const chunks: DecodedArray[] = [];
  let dictionary: DecodedArray | undefined;
  let values = 0;
  let unpackedBytes = 0;
  while (values < total) {
    if (reader.offset >= bytes.length) {
      throw new DamagedParquet(`ends after ${values} of ${total} values`);
    }
    const header = parquetHeader(reader);
    const left = bytes.length - reader.offset;
    const size = within(header.compressed_page_size, left, "a page's bytes");
    const body = bytes.subarray(reader.offset, reader.offset + size);
    reader.offset += size;
    unpackedBytes += within(header.uncompressed_page_size, PAGE_LIMIT_BYTES, "a page's size");
    within(unpackedBytes, COLUMN_LIMIT_BYTES, "the pages' size");
    if (header.type === "DICTIONARY_PAGE") {
      dictionary = decode.dictionary(dictionaryPage(header, body, column));
    } else if (header.type === "DATA_PAGE" || header.type === "DATA_PAGE_V2") {
      const { page, count } = dataPage(header, body, column, total - values);
      values += count;
      const chunk = decode.values(page, dictionary, chunks.at(-1));
      // A row that an earlier page began goes on in that page's chunk.
      if (chunk !== chunks.at(-1) && chunk.length > 0) chunks.push(chunk);
    }
  }
  return chunks;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

const PARSERS: ParquetParsers = {
  ...DEFAULT_PARSERS,
  stringFromBytes(bytes) {
    try {
      return utf8.decode(bytes);
    } catch {
      throw new DamagedParquet("holds a text that is not UTF-8");
    }
  },
};

/** hyparquet's own decoding, of pages that are unpacked already. */
function createDecoder({ metadata, schemaPath }: ParquetColumn) {
  const element = schemaPath.at(-1)?.element;
  if (!element) throw new DamagedParquet("is not in the file's schema");
  const decoder = {
    ...metadata,
    pathInSchema: metadata.path_in_schema,
    element,
    schemaPath,
    codec: "UNCOMPRESSED" as const,
    parsers: PARSERS,
    utf8: false,
  };
  const read = (
    { header, bytes }: Page,
    dictionary?: DecodedArray,
    last?: DecodedArray,
  ): DecodedArray => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const sizes = { compressed_page_size: bytes.length, uncompressed_page_size: bytes.length };
    const reader = { view, offset: 0 };
    return readPage(reader, { ...header, ...sizes }, decoder, dictionary, last, 0).data ?? [];
  };
  return { dictionary: (page: Page) => convert(read(page), decoder), values: read };
}

function dictionaryPage(
  header: PageHeader,
  body: Uint8Array<ArrayBuffer>,
  { metadata, schemaPath }: ParquetColumn,
): Page {
  const count = header.dictionary_page_header?.num_values;
  within(count, VALUES_LIMIT, "a dictionary's values");
  const bytes = unpackPage(body, header.uncompressed_page_size, metadata.codec);
  checkValues("PLAIN", bytes, 0, count ?? 0, metadata.type, schemaPath);
  return { header, bytes };
}

/** The page, checked, and how many values it says it has. */
function dataPage(
  header: PageHeader,
  body: Uint8Array<ArrayBuffer>,
  column: ParquetColumn,
  left: number,
): { page: Page; count: number } {
  const { data_page_header: first, data_page_header_v2: second } = header;
  const count = within((second ?? first)?.num_values, left, "a page's values");
  if (header.type === "DATA_PAGE_V2" && second) return secondKind(header, second, body, column);
  if (header.type !== "DATA_PAGE" || !first) throw new DamagedParquet("has a page of no kind");
  return { page: firstKind(header, first, body, column), count };
}

/** Levels and values are packed together, each kind of level after its length. */
function firstKind(
  header: PageHeader,
  { num_values: count, encoding }: DataPageHeader,
  body: Uint8Array<ArrayBuffer>,
  { metadata, schemaPath }: ParquetColumn,
): Page {
  const bytes = unpackPage(body, header.uncompressed_page_size, metadata.codec);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  for (const most of levelsOf(schemaPath)) {
    if (most === 0) continue;
    within(at + 4, bytes.length, "a page's levels");
    const end = at + 4 + view.getUint32(at, true);
    within(end, bytes.length, "a page's levels");
    skipRuns(bytes, at + 4, bitsOf(most), count);
    at = end;
  }
  checkValues(encoding, bytes, at, count, metadata.type, schemaPath);
  return { header, bytes };
}

/** Only the values are packed; the levels before them have their lengths in the header. */
function secondKind(
  header: PageHeader,
  about: NonNullable<PageHeader["data_page_header_v2"]>,
  body: Uint8Array<ArrayBuffer>,
  { metadata, schemaPath }: ParquetColumn,
): { page: Page; count: number } {
  const { num_values: count, encoding } = about;
  const lengths = [about.repetition_levels_byte_length, about.definition_levels_byte_length];
  within(about.num_nulls, count, "a page's nulls");
  within(about.num_rows, count, "a page's rows");
  let at = 0;
  for (const [i, most] of levelsOf(schemaPath).entries()) {
    const end = at + within(lengths[i], body.length - at, "a page's levels");
    if (most > 0) skipRuns(body, at, bitsOf(most), count);
    at = end;
  }
  const size = within(header.uncompressed_page_size - at, PAGE_LIMIT_BYTES, "a page's values");
  const packed = body.subarray(at);
  const isPacked = about.is_compressed !== false;
  const values = isPacked ? unpackPage(packed, size, metadata.codec) : packed;
  const bytes = new Uint8Array(at + values.length);
  bytes.set(body.subarray(0, at));
  bytes.set(values, at);
  checkValues(encoding, bytes, at, count - about.num_nulls, metadata.type, schemaPath);
  const plain = { ...header, data_page_header_v2: { ...about, is_compressed: false } };
  return { page: { header: plain, bytes }, count };
}

/** The largest repetition level and the largest definition level. */
function levelsOf(schemaPath: SchemaTree[]): [repetition: number, definition: number] {
  // hyparquet reads no repetition levels of a column without parents.
  const repetition = schemaPath.length > 1 ? getMaxRepetitionLevel(schemaPath) : 0;
  return [repetition, getMaxDefinitionLevel(schemaPath)];
}

function bitsOf(most: number): number {
  return 32 - Math.clz32(most);
}
