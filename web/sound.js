// A call's sound: the microphone, and the speaker of the link that carries the answers.

import { Microphone } from "./microphone.js";
import { RemoteSpeaker } from "./remote-speaker.js";
import { Speaker } from "./speaker.js";

const MODULES = ["mic-worklet.js", "speaker-worklet.js"];

export class Sound {
  constructor() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.microphone = null;
    this.speaker = null;
    this.outputId = "";
    this.isReady = false;
    this.isClosed = false;
    // A telephone call or the lock screen suspends sound; it comes back with the page.
    this.context.onstatechange = () => {
      if (!["running", "closed"].includes(this.context.state)) this.context.resume();
    };
  }

  /** Whether this browser lets a page choose where it sounds. */
  static get canChooseOutput() {
    return "setSinkId" in HTMLMediaElement.prototype;
  }

  async open() {
    await this.context.resume();
    if (this.isReady) return;
    for (const name of MODULES) {
      await this.context.audioWorklet.addModule(new URL(name, import.meta.url));
    }
    this.isReady = !this.isClosed;
  }

  /**
   * @param {Microphone} microphone not open yet
   * @param {string} deviceId empty: the system's own choice
   */
  async hear(microphone, deviceId) {
    try {
      await microphone.open(deviceId);
    } finally {
      if (!this.isClosed && microphone.isOpen) this.microphone = microphone;
      else microphone.close();
    }
  }

  /**
   * @param {MediaStream | null} stream the server's voice; null: it comes in frames
   * @returns {Speaker | RemoteSpeaker | null} null: the one there is will do
   */
  speakFrom(stream) {
    if (this.speaker && (this.speaker.stream ?? null) === stream) return null;
    this.speaker?.close();
    this.speaker = stream ? new RemoteSpeaker(this.context, stream) : new Speaker(this.context);
    this.applyOutput();
    return this.speaker;
  }

  /** @param {string} deviceId where to sound; empty: the system's own choice */
  async setOutput(deviceId) {
    this.outputId = deviceId;
    await this.applyOutput();
  }

  /** A device that is gone, or not allowed, leaves the sound where it was. */
  async applyOutput() {
    if (!this.speaker) return;
    try {
      await this.speaker.setOutput(this.outputId);
    } catch {
      this.outputId = "";
    }
  }

  close() {
    this.isClosed = true;
    this.isReady = false;
    this.speaker?.clear();
    this.microphone?.close();
    this.speaker?.close();
    this.context.close();
  }
}
