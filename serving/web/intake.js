/** How photographs come to the page: chosen, dropped (folders too) or pasted. */

import { byId } from "./element.js";

/** @param {(files: File[]) => void} take */
export function prepareIntake(take) {
  const field = byId("files");
  const landing = byId("landing");
  field.addEventListener("change", () => {
    take([...field.files]);
    field.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    landing.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) landing.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    landing.hidden = true;
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    // Entries must be taken before this handler ends; their files may come later.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
    void Promise.all(entries.map(filesOf)).then((files) => take(files.flat()));
  });
}

/** @param {FileSystemEntry | File | null} entry @returns {Promise<File[]>} of a folder: all below it */
async function filesOf(entry) {
  if (!entry) return [];
  if (entry instanceof File) return [entry];
  if (entry.isFile)
    return [await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const files = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files.flat();
    files.push(...(await Promise.all(some.filter(({ name }) => !name.startsWith(".")).map(filesOf))));
  }
}

/** @param {File} file */
export const isZip = ({ name, type }) =>
  /\.zip$/i.test(name) || type === "application/zip" || type === "application/x-zip-compressed";
