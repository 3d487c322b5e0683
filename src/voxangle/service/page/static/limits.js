// What the service would refuse for its size, said before it is sent.

import { megabytes } from "./wording.js";

const FORM = 4096; // bytes of a form beside its files

/** Why the files are too large to be sent together; empty where they are not. @param {File[]} files */
export function tooLarge(files, model) {
  const bytes = files.reduce((sum, file) => sum + file.size, FORM);
  const most = model.limits.body_bytes;
  if (bytes <= most) return "";
  return `${megabytes(bytes)} are too much: this service takes ${megabytes(most)} at once. Send shorter recordings, or fewer.`;
}
