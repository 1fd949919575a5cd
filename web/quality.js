// How good the line is, from the browser's WebRTC statistics. Pure.
//
// Source of the fields: https://www.w3.org/TR/webrtc-stats/

const WINDOW = 10; // looks, one a second: what is lost once is forgotten ten seconds later
// One of three is no 33 %. In silence few packets come, and the window reaches further back.
const MOST_WINDOW = 60;
const ENOUGH_PACKETS = 50;

// Round trip: ITU-T G.114 finds 150 ms one way good and 400 ms the most a conversation stands.
// Loss and jitter: what Opus with its error correction, and a jitter buffer of 60 ms, hide.
const GOOD = { lossPercent: 2, jitterMs: 30, roundTripMs: 300 };
const FAIR = { lossPercent: 8, jitterMs: 60, roundTripMs: 700 };
// Even in silence the network answers every 2.5 s.
const SUSPECT_S = 4;

export class Quality {
  constructor() {
    this.looks = [];
    this.silentS = 0;
  }

  /**
   * @param {object[]} stats of one look
   * @returns {{rating: "good" | "fair" | "poor", lossInPercent: number | null,
   *     lossOutPercent: number | null, jitterMs: number | null, roundTripMs: number | null,
   *     bufferMs: number | null, silentS: number}} null: not known yet; silentS:
   *     seconds in which not even the network's own answers came
   */
  take(stats) {
    const look = readings(stats);
    const last = this.looks.at(-1);
    this.silentS = last && last.bytes === look.bytes ? this.silentS + 1 : 0;
    this.looks.push(look);
    if (this.looks.length > MOST_WINDOW + 1) this.looks.shift();
    const first = this.first(look);
    const figures = {
      lossInPercent: loss(look.lost - first.lost, look.received - first.received),
      lossOutPercent: lossOut(first, look),
      jitterMs: look.jitterMs,
      roundTripMs: look.roundTripMs,
      bufferMs: bufferMs(last ?? look, look),
      silentS: this.silentS,
    };
    return { rating: rating(figures), ...figures };
  }

  /** The look that loss is counted from. */
  first(look) {
    const expected = ({ received, lost }) => received + lost;
    const isEnough = (other) => expected(look) - expected(other) >= ENOUGH_PACKETS;
    return this.looks.slice(0, -WINDOW).findLast(isEnough) ?? this.looks[0];
  }
}

/** The numbers of one look, those that are not there null or 0. */
function readings(stats) {
  const of = (type) => stats.find((entry) => entry.type === type && entry.kind !== "video") ?? {};
  const [inbound, outbound] = [of("inbound-rtp"), of("outbound-rtp")];
  const [remote, pair] = [of("remote-inbound-rtp"), chosenPair(stats)];
  return {
    received: inbound.packetsReceived ?? 0,
    lost: inbound.packetsLost ?? 0,
    sent: outbound.packetsSent ?? 0,
    lostOut: remote.packetsLost ?? null,
    jitterMs: ms(inbound.jitter),
    roundTripMs: ms(remote.roundTripTime ?? pair.currentRoundTripTime),
    bufferS: inbound.jitterBufferDelay ?? 0,
    emitted: inbound.jitterBufferEmittedCount ?? 0,
    bytes: (pair.bytesReceived ?? 0) + (pair.responsesReceived ?? 0),
  };
}

function chosenPair(stats) {
  const transport = stats.find(({ type }) => type === "transport");
  const pairs = stats.filter(({ type }) => type === "candidate-pair");
  return (
    pairs.find(({ id }) => id === transport?.selectedCandidatePairId) ??
    pairs.find(({ nominated, state }) => nominated && state === "succeeded") ??
    {}
  );
}

function ms(seconds) {
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** Duplicates can make a count of lost packets fall. */
function loss(lost, received) {
  if (lost + received < ENOUGH_PACKETS) return null;
  return (100 * Math.max(0, lost)) / (lost + received);
}

/** What the server says it missed of what was sent; it says so every few seconds. */
function lossOut(first, look) {
  if (look.lostOut === null || look.sent - first.sent < ENOUGH_PACKETS) return null;
  const lost = Math.max(0, look.lostOut - (first.lostOut ?? 0));
  return Math.min(100, (100 * lost) / (look.sent - first.sent));
}

/** How long a sample waited between its arrival and being played. */
function bufferMs(before, look) {
  const emitted = look.emitted - before.emitted;
  if (emitted > 0) return ((look.bufferS - before.bufferS) * 1000) / emitted;
  return look.emitted > 0 ? (look.bufferS * 1000) / look.emitted : null;
}

function rating({ lossInPercent, lossOutPercent, jitterMs, roundTripMs, silentS }) {
  if (silentS >= SUSPECT_S) return "poor"; // the other figures are those of before
  const lossPercent = Math.max(lossInPercent ?? 0, lossOutPercent ?? 0);
  const is = (bounds) =>
    lossPercent < bounds.lossPercent &&
    (jitterMs ?? 0) < bounds.jitterMs &&
    (roundTripMs ?? 0) < bounds.roundTripMs;
  if (is(GOOD)) return "good";
  return is(FAIR) ? "fair" : "poor";
}
