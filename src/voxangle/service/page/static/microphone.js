// The microphone, sample by sample.
//
// An AudioWorklet, not MediaRecorder: that gives Opus in one browser and AAC in another, both lossy, and its pieces
// cannot be streamed as samples. Here every browser gives the same: what the microphone gave, at the rate of the
// device. The browser's processing is off, for it is made for people on the telephone: noise suppression and automatic
// gain bend the spectrum that a voice is told by.

const HIGHEST_RATE = 48_000; // that the service takes as a stream

const STARTING = 5_000; // milliseconds: a headset without wires takes two or three seconds

const SENTENCES = {
  NotAllowedError: "The browser did not allow the microphone. Allow it in the address bar’s settings, or choose a file.",
  NotFoundError: "No microphone was found. Connect one, or choose a file.",
  NotStartedError:
    "The browser’s sound did not start. Firefox needs something to play to, even to record: connect a loudspeaker or headphones, or choose a file.",
  NotReadableError: "The microphone is in use or broken. Close what else uses it, or choose a file.",
};

/** Why there is no microphone, for a person to read. */
export class MicrophoneError extends Error {}

/**
 * Open the microphone. To be called from a click, without which some browsers start no audio.
 *
 * @param {(block: Float32Array) => void} onBlock gets samples in [-1, 1], one channel; the fraction of a block at the
 *   end, at most 46 ms, is left out.
 * @param {() => void} onLost is called when the device goes away.
 * @returns {Promise<{rate: number, close: () => void}>} its rate in Hz.
 */
export async function openMicrophone(onBlock, onLost) {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    throw new MicrophoneError(
      "Browsers give the microphone only to pages that come over HTTPS or from this machine. Choose a file instead.",
    );
  }
  let context = new AudioContext();
  let stream = null;
  const close = () => {
    stream?.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
  };
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    if (context.sampleRate > HIGHEST_RATE) {
      await context.close();
      context = new AudioContext({ sampleRate: HIGHEST_RATE });
    }
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    await started(context);
    const capture = new AudioWorkletNode(context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    capture.port.onmessage = ({ data }) => onBlock(data);
    // Some browsers run only what leads to the speakers; the worklet's output is silence.
    context.createMediaStreamSource(stream).connect(capture).connect(context.destination);
    stream.getAudioTracks()[0].addEventListener("ended", onLost);
    return { rate: context.sampleRate, close };
  } catch (error) {
    close();
    throw new MicrophoneError(SENTENCES[error.name] ?? `The microphone could not be opened (${error.message}).`);
  }
}

/** Without a device to play to, Firefox leaves a context suspended for ever, and says nothing. */
async function started(context) {
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new DOMException("", "NotStartedError")), STARTING));
  await Promise.race([context.resume(), late]);
}
