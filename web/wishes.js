// What the page asks of a session.

const PCM = { type: "audio/pcm", rate: 24_000 }; // over WebRTC the media's own coding stands above it

const INCLUDE = [
  "kaiwa.transcript.partial",
  "kaiwa.turn.sources",
  "kaiwa.speech.marks",
  "kaiwa.speech.ducked",
  "kaiwa.turn.timeline",
  "kaiwa.call.ended",
];

/** @param {string} language that will be spoken */
export function wishes(language) {
  return {
    type: "realtime",
    output_modalities: ["audio"],
    include: INCLUDE,
    audio: { input: { format: PCM, transcription: { language } }, output: { format: PCM } },
  };
}
