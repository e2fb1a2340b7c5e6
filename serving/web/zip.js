/** Files as one zip, stored as they are: pictures do not shrink further (APPNOTE 4.3, no zip64). */

import { crc32 } from "./crc32.js";

const MOST = 0xffffffff; // bytes, and 65,535 files: what fits without zip64
const DATE = ((1980 - 1980) << 9) | (1 << 5) | 1; // the pictures' own dates are inside them
const UTF8 = 0x0800;

/**
 * @param {{name: string, blob: Blob}[]} files names are made different where they are not
 * @returns {Promise<Blob>} an Error says that they are too many or too large
 */
export async function zip(files) {
  const total = files.reduce((sum, { blob }) => sum + blob.size + 256, 0);
  if (total > MOST || files.length > 65535)
    throw new Error("These are too many photographs for one zip; download them one by one.");
  /** @type {BlobPart[]} */
  const parts = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const directory = [];
  let offset = 0;
  const names = unlike(files.map(({ name }) => name));
  for (const [i, { blob }] of files.entries()) {
    const name = new TextEncoder().encode(names[i]);
    const common = [20, UTF8, 0, 0, DATE, await checksum(blob), blob.size, blob.size, name.length, 0];
    const header = record("PK\x03\x04", "SSSSSLLLSS", common, name);
    directory.push(record("PK\x01\x02", "SSSSSSLLLSSSSSLL", [20, ...common, 0, 0, 0, 0, offset], name));
    parts.push(header, blob);
    offset += header.length + blob.size;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const end = record("PK\x05\x06", "SSSSLLS", [0, 0, files.length, files.length, size, offset, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** @param {Blob} blob */
async function checksum(blob) {
  let value = 0;
  const reader = blob.stream().getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) value = crc32(read.value, value);
  return value;
}

/**
 * @param {string} signature
 * @param {string} layout S: two bytes, L: four, little-endian
 * @param {number[]} values
 * @param {Uint8Array} [name]
 * @returns {Uint8Array<ArrayBuffer>}
 */
function record(signature, layout, values, name = new Uint8Array()) {
  const length = [...layout].reduce((sum, kind) => sum + (kind === "S" ? 2 : 4), 4);
  const made = new Uint8Array(length + name.length);
  const view = new DataView(made.buffer);
  made.set(new TextEncoder().encode(signature));
  let at = 4;
  for (const [i, kind] of [...layout].entries()) {
    if (kind === "S") view.setUint16(at, values[i], true);
    else view.setUint32(at, values[i], true);
    at += kind === "S" ? 2 : 4;
  }
  made.set(name, length);
  return made;
}

/** @param {string[]} names */
function unlike(names) {
  const taken = new Set();
  return names.map((name) => {
    const dot = name.lastIndexOf(".") > 0 ? name.lastIndexOf(".") : name.length;
    let own = name;
    for (let number = 2; taken.has(own); number += 1) own = `${name.slice(0, dot)} (${number})${name.slice(dot)}`;
    taken.add(own);
    return own;
  });
}
