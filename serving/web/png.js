/**
 * A mask as a PNG of one bit a pixel.
 *
 * Written by hand because a canvas of a large scan's size is more than many browsers allow, and a mask must have
 * exactly the photograph's size: rows are made one by one and compressed as they come.
 */

import { crc32 } from "./crc32.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const ROWS = 256; // compressed at a time

/**
 * @param {number} width of the PNG
 * @param {number} height
 * @param {ImageData} small white where its alpha is 128 or more; stretched to the PNG's size without smoothing
 * @returns {Promise<Blob>}
 */
export async function maskPng(width, height, small) {
  const body = new Uint8Array(
    await new Response(lines(width, height, small).pipeThrough(new CompressionStream("deflate"))).arrayBuffer(),
  );
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 1); // one bit a pixel, colour type 0: grey
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", body),
    chunk("IEND", new Uint8Array()),
  ];
  return new Blob(parts, { type: "image/png" });
}

/**
 * @param {number} width
 * @param {number} height
 * @param {ImageData} small
 * @returns {ReadableStream<Uint8Array<ArrayBuffer>>}
 */
function lines(width, height, small) {
  const columns = Uint32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * small.width) / width));
  const stride = 1 + Math.ceil(width / 8);
  let y = 0;
  return new ReadableStream({
    pull(controller) {
      const rows = Math.min(ROWS, height - y);
      const bytes = new Uint8Array(rows * stride); // each row begins with 0: no filter
      for (let row = 0; row < rows; row += 1, y += 1) {
        const from = Math.floor(((y + 0.5) * small.height) / height) * small.width;
        const at = row * stride + 1;
        for (let x = 0; x < width; x += 1) {
          if (small.data[4 * (from + columns[x]) + 3] >= 128) bytes[at + (x >> 3)] |= 0x80 >> (x & 7);
        }
      }
      controller.enqueue(bytes);
      if (y === height) controller.close();
    },
  });
}

/**
 * @param {string} type
 * @param {Uint8Array<ArrayBuffer>} data
 * @returns {Uint8Array<ArrayBuffer>}
 */
function chunk(type, data) {
  const made = new Uint8Array(data.length + 12);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(new TextEncoder().encode(type), 4);
  made.set(data, 8);
  view.setUint32(data.length + 8, crc32(made.subarray(4, data.length + 8)));
  return made;
}
