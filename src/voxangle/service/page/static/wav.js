// Samples as 16 bit PCM, raw for the stream and in a WAV file for an upload: nothing is lost that a microphone gave.

const HEADER = 44;
const BYTES = 2;

/** Signed 16 bit, little endian. @param {Float32Array[]} blocks of samples in [-1, 1] */
export function pcm16(blocks, header = 0) {
  const samples = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(header + BYTES * samples));
  let offset = header;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(offset, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true);
      offset += BYTES;
    }
  }
  return view;
}

/** A WAV file of one channel. @param {number} rate in Hz */
export function wavFile(blocks, rate, name) {
  const view = pcm16(blocks, HEADER);
  const text = (offset, letters) => [...letters].forEach((one, i) => view.setUint8(offset + i, one.charCodeAt(0)));
  const bytes = view.byteLength - HEADER;
  text(0, "RIFF");
  view.setUint32(4, HEADER - 8 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * BYTES, true);
  view.setUint16(32, BYTES, true);
  view.setUint16(34, 8 * BYTES, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return new File([view], name, { type: "audio/wav" });
}
