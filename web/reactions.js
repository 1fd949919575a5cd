// What a call does when the server, its speaker or its microphone says something; `this` is the call.

// Races between caller and server that need nobody's attention (docs/wire.md).
const HARMLESS = new Set([
  "response_cancel_not_active",
  "conversation_already_has_active_response",
  "input_audio_buffer_commit_empty",
  "item_create_duplicate_item_id",
  "item_retrieve_invalid_item_id",
]);

const MOST_TURNS = 500;

export const reactions = {
  "session.created"({ session }) {
    const { goesOn, brokeOff } = this.connection;
    this.forgetSession();
    if (goesOn) this.transcript.settle();
    else this.transcript.divide(session.id, brokeOff);
    this.configure();
    if (goesOn) this.recall();
  },

  "session.updated"({ session }) {
    this.session = session;
    for (const text of this.questions.splice(0)) this.ask(text);
  },

  "input_audio_buffer.speech_started"() {
    const detection = this.session?.audio?.input?.turn_detection;
    if (detection?.interrupt_response !== false) this.cutIn();
  },

  "response.created"({ response, kaiwa }) {
    const turn = (kaiwa ?? response.kaiwa)?.turn ?? this.newestTurn + 1;
    this.newestTurn = Math.max(this.newestTurn, turn);
    this.responses.set(response.id, { turn, item: null, hasAudio: false });
    this.active = response.id;
    this.change();
  },

  "response.output_item.added"({ response_id, item }) {
    const response = this.responses.get(response_id);
    if (response && item.type === "message") response.item = item.id;
  },

  "response.output_audio.done"({ response_id, item_id }) {
    const response = this.responses.get(response_id);
    if (response?.hasAudio && this.speaker) this.speaker.end(item_id);
    else this.transcript.finished(item_id);
  },

  "response.done"({ response }) {
    const { item, hasAudio, turn } = this.responses.get(response.id) ?? {};
    this.responses.delete(response.id);
    if (this.active === response.id) this.active = null;
    if (response.status === "cancelled") {
      this.silencedTurn = turn;
      if (hasAudio && this.speaker?.item === item) this.speaker.clear();
      else if (item) this.transcript.cut(item, this.transcript.find(item)?.playedMs ?? 0);
    } else if (item && hasAudio) {
      this.speaker?.end(item); // a failed answer ends with what was made of it
    }
    this.change();
  },

  "output_audio_buffer.started"({ response_id }) {
    const response = this.responses.get(response_id);
    if (!response?.item || !this.playsThere) return;
    response.hasAudio = true;
    this.speaker.begin(response.item);
  },

  "output_audio_buffer.stopped"() {
    if (this.playsThere) this.speaker.stop();
  },

  "output_audio_buffer.cleared"() {
    if (this.playsThere) this.speaker.clear();
  },

  "kaiwa.speech.ducked"({ ducked }) {
    this.speaker?.duck(ducked);
  },

  "kaiwa.turn.timeline"(event) {
    this.turns.push(event);
    if (this.turns.length > MOST_TURNS) this.turns.shift();
    this.tell("turn", event);
  },

  error({ error }) {
    if (!HARMLESS.has(error.code)) this.tell("problem", { code: "server-error", detail: error.message });
  },
};

export const capture = {
  frame({ pcm, rms }) {
    this.connection.sendAudio(pcm);
    this.tell("level", { who: "caller", rms });
  },

  problem(detail) {
    this.tell("fine", { code: this.microphoneProblem });
    this.microphoneProblem = detail.code;
    this.tell("problem", detail);
    if (detail.code === "mic-lost") this.choose("");
  },

  fine() {
    this.tell("fine", { code: this.microphoneProblem });
  },
};

export const playback = {
  level({ rms }) {
    this.tell("level", { who: "agent", rms });
  },

  failed({ error }) {
    this.tell("problem", { code: "audio-failed", detail: error.message });
  },

  started() {
    this.change();
  },

  position({ item, playedMs }) {
    this.playedMs = playedMs;
    this.transcript.played(item, playedMs);
  },

  report({ item, playedMs }) {
    this.report(item, playedMs);
  },

  finished({ item, playedMs }) {
    this.playedMs = playedMs;
    this.report(item, playedMs);
    this.transcript.finished(item);
    this.change();
  },

  cleared({ item, playedMs }) {
    this.playedMs = playedMs;
    if (!this.playsThere) this.truncate(item, playedMs);
    this.transcript.cut(item, playedMs);
    this.change();
  },
};
