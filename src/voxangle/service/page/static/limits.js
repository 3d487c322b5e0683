// What the service would refuse for its size, said before it is sent.

import { Problem } from "./service.js";
import { count, megabytes } from "./wording.js";

const FORM = 4096; // bytes of a form beside its files

/**
 * Look whether files can be sent together.
 *
 * @param {File[]} files
 * @param {object} model of /v1/model
 * @throws {Problem} they are too many or too large.
 */
export function checkSize(files, { limits }) {
  const bytes = files.reduce((sum, file) => sum + file.size, FORM);
  const cure = "Send shorter recordings, or fewer.";
  if (files.length > limits.recordings) {
    const detail = `This service takes ${count(limits.recordings, "recording")} at once.`;
    throw new Problem({ code: "too-many-recordings", title: "There are too many recordings", detail, cure });
  }
  if (bytes > limits.body_bytes) {
    const detail = `${megabytes(bytes)} are too much: this service takes ${megabytes(limits.body_bytes)} at once.`;
    throw new Problem({ code: "too-large", title: "The recordings are too large", detail, cure });
  }
}
