// The page's words in its two languages.

const WORDS = {
  en: {
    title: "Kaiwa",
    talk: "Talk",
    mute: "Mute",
    unmute: "Unmute",
    starting: "Starting…",
    stop: "End call",
    "stop-answer": "Stop answer",
    send: "Send",
    ask: "Or type a question",
    you: "you",
    kaiwa: "kaiwa",
    "keys-hint": "space: talk or mute · esc: stop",
    "empty-title": "Ask aloud.",
    "empty-text":
      "Press Talk and ask about your documents. You see your words as they are understood, hear the answer, and can cut in at any time.",
    listening: "listening",
    "not-understood": "Not understood",
    "answer-failed": "The answer failed",
    "cut-in": "you cut in here",
    reconnected: "New conversation: the connection had been lost",
    sources: "Sources",
    "source-loading": "Loading…",
    "source-failed": "The document could not be loaded: {detail}",
    close: "Close",
    "last-turns": "Last turns, ms",
    "no-turns": "Every turn you take shows here where its time went.",
    turn: "Turn {turn}",
    "cut-at": "cut in at {s} s",
    "outcome-interrupted": "cut in",
    "outcome-cancelled": "cancelled",
    "outcome-no_speech": "no speech",
    "outcome-no_reply": "no reply",
    "outcome-failed": "failed",
    figures: "Latency, ms",
    here: "This page, large:",
    server: "The server since its start, small:",
    turns: "turns {n}",
    underruns: "gaps in playback {n}",
    "span-endpoint": "endpoint",
    "span-final": "final",
    "span-retrieval": "retrieval",
    "span-llm_first_token": "llm",
    "span-first_clause": "clause",
    "span-tts_first_audio": "tts",
    "span-tts_start": "send",
    "span-heard": "heard",
    "figure-partial": "partial",
    "figure-final": "final",
    "figure-tts_start": "tts_start",
    "figure-partial-help": "start of speech to first words shown",
    "figure-final-help": "end of speech to final transcript",
    "figure-tts_start-help": "end of speech to first sound of the answer",
    device: "Microphone",
    "device-default": "System default",
    "device-number": "Microphone {n}",
    settings: "Microphone, speaker and echo",
    output: "Speaker",
    "output-number": "Speaker {n}",
    processing: "The microphone’s sound",
    echoCancellation: "Echo cancellation",
    noiseSuppression: "Noise suppression",
    autoGainControl: "Automatic volume",
    granted: "In effect:",
    on: "on",
    off: "off",
    unknown: "not told",
    link: "Connection",
    "link-auto": "Automatic: WebRTC, else WebSocket",
    "link-webrtc": "WebRTC: bears lost packets",
    "link-websocket": "WebSocket: passes every firewall",
    "why-webrtc-off": "WebSocket, since this server offers no WebRTC.",
    "why-webrtc-refused": "WebSocket, since the server refused the call over WebRTC.",
    "why-webrtc-no-path":
      "WebSocket, since no sound got through over WebRTC: a firewall on the way may be blocking UDP.",
    "why-webrtc-lost": "WebSocket, since the connection over WebRTC kept breaking off.",
    "why-webrtc-unsupported": "WebSocket, since this browser has no WebRTC.",
    "webrtc-off": "This server offers no WebRTC. Choose “Automatic” or “WebSocket” for the connection, top left.",
    "webrtc-refused": "The server refused the call over WebRTC.",
    "webrtc-no-path":
      "No sound got through over WebRTC: a firewall on the way may be blocking UDP. Choose “Automatic” or “WebSocket” for the connection, top left.",
    quality: "Quality",
    "quality-good": "good",
    "quality-fair": "fair",
    "quality-poor": "poor",
    "quality-loss": "Packets lost, to you / from you",
    "quality-jitter": "Jitter",
    "quality-round-trip": "Round trip",
    "quality-buffer": "Waiting to be played",
    "no-quality": "Loss, jitter and round trip are measured in calls over WebRTC.",
    theme: "Light or dark",
    language: "Language",
    "level-you": "Your level",
    "level-kaiwa": "Kaiwa’s level",
    "state-closed": "not connected",
    "state-connecting": "connecting",
    "state-open": "connected",
    "state-waiting": "reconnecting",
    "state-blocked": "refused",
    "retry-in": "Trying again in {s} s",
    "retry-now": "Try now",
    dismiss: "Dismiss",
    mock: "mock",
    fallback: "fallback ×{n}",
    down: "down",
    providers: "Providers",
    warning: "Server warning: {text}",
    "server-unreachable": "The server does not answer. Is it running?",
    "mic-refused":
      "The microphone was refused. Allow it for this page in the browser’s address bar (and in the system’s privacy settings), then press Talk. You can also type.",
    "mic-missing": "No microphone was found. Connect one and press Talk, or type your question.",
    "mic-in-use":
      "The microphone is in use by another program. Close that program and press Talk, or choose another microphone.",
    "mic-failed": "The microphone could not be started: {detail}",
    "mic-muted": "The microphone is muted by the system or by its own switch. Unmute it there.",
    "mic-silent":
      "The microphone delivers nothing but silence. Check its switch, or choose another microphone.",
    "mic-lost": "The microphone was unplugged. Connect it again, or choose another.",
    "mic-unsupported": "This browser has no microphone access. Use a current Chrome, Firefox or Safari.",
    "insecure-context":
      "Browsers give the microphone only to secure pages. Open this page as https://… or on http://localhost. Typing works here too.",
    "audio-failed": "Sound could not be started: {detail}",
    "key-needed": "This server asks for an API key.",
    "key-refused": "This key was not accepted.",
    "key-label": "API key",
    "key-use": "Connect",
    "key-note": "Kept in this tab only, until you close it.",
    "origin-refused":
      "The server does not accept this page’s address. Its operator must add {detail} to the allowed origins.",
    "server-full": "All lines are taken.",
    "server-gone": "The connection to the server is lost.",
    "server-error": "The server reports: {detail}",
    "server-stopping": "The server is being stopped. A new call is opened when it is back.",
    "call-broke":
      "The call broke off: the network stood still, or the server has a fault, which is in its log. A new call is being opened.",
    "call-ended": "The call is over. Start talking to begin a new one.",
    "call-refused":
      "The server ended the call: it does not understand what this page sends. Reload the page.",
    "frame-too-long": "The server ended the call: this page sent more at once than it takes. Reload the page.",
    "question-too-long":
      "This question has {length} characters; the server takes {most}. Shorten it, then send it.",
  },
  ja: {
    title: "Kaiwa",
    talk: "話す",
    mute: "ミュート",
    unmute: "ミュート解除",
    starting: "準備中…",
    stop: "通話を終了",
    "stop-answer": "回答を止める",
    send: "送信",
    ask: "文字でも質問できます",
    you: "あなた",
    kaiwa: "kaiwa",
    "keys-hint": "スペース：話す／ミュート・Esc：停止",
    "empty-title": "声で質問してください。",
    "empty-text":
      "「話す」を押して、文書について質問してください。聞き取った言葉がその場で表示され、答えは音声で返ります。途中でいつでも割り込めます。",
    listening: "聞いています",
    "not-understood": "聞き取れませんでした",
    "answer-failed": "回答に失敗しました",
    "cut-in": "ここで割り込み",
    reconnected: "接続が切れたため、新しい会話です",
    sources: "出典",
    "source-loading": "読み込み中…",
    "source-failed": "文書を読み込めませんでした：{detail}",
    close: "閉じる",
    "last-turns": "最近のターン (ms)",
    "no-turns": "話すたびに、どこに時間がかかったかがここに表示されます。",
    turn: "ターン {turn}",
    "cut-at": "{s} 秒で割り込み",
    "outcome-interrupted": "割り込み",
    "outcome-cancelled": "取り消し",
    "outcome-no_speech": "発話なし",
    "outcome-no_reply": "返答なし",
    "outcome-failed": "失敗",
    figures: "遅延 (ms)",
    here: "大：この画面、",
    server: "小：サーバー起動以降、",
    turns: "{n} ターン",
    underruns: "再生の途切れ {n}",
    "span-endpoint": "発話終了",
    "span-final": "確定",
    "span-retrieval": "検索",
    "span-llm_first_token": "LLM",
    "span-first_clause": "文節",
    "span-tts_first_audio": "音声合成",
    "span-tts_start": "送出",
    "span-heard": "再生",
    "figure-partial": "partial",
    "figure-final": "final",
    "figure-tts_start": "tts_start",
    "figure-partial-help": "話し始めから最初の文字表示まで",
    "figure-final-help": "話し終わりから確定した文字起こしまで",
    "figure-tts_start-help": "話し終わりから回答の最初の音まで",
    device: "マイク",
    "device-default": "システムの既定",
    "device-number": "マイク {n}",
    settings: "マイク・スピーカー・エコー",
    output: "スピーカー",
    "output-number": "スピーカー {n}",
    processing: "マイクの音声処理",
    echoCancellation: "エコー除去",
    noiseSuppression: "雑音の抑制",
    autoGainControl: "音量の自動調整",
    granted: "現在の状態：",
    on: "オン",
    off: "オフ",
    unknown: "不明",
    link: "接続方式",
    "link-auto": "自動：WebRTC、不可なら WebSocket",
    "link-webrtc": "WebRTC：パケット損失に強い",
    "link-websocket": "WebSocket：ファイアウォールを通りやすい",
    "why-webrtc-off": "このサーバーは WebRTC に対応していないため、WebSocket で接続しています。",
    "why-webrtc-refused": "WebRTC での通話をサーバーが拒否したため、WebSocket で接続しています。",
    "why-webrtc-no-path":
      "WebRTC では音声が届かなかったため、WebSocket で接続しています。途中のファイアウォールが UDP を遮断している可能性があります。",
    "why-webrtc-lost": "WebRTC の接続が繰り返し切れたため、WebSocket で接続しています。",
    "why-webrtc-unsupported": "このブラウザは WebRTC に対応していないため、WebSocket で接続しています。",
    "webrtc-off": "このサーバーは WebRTC に対応していません。左上の接続方式で「自動」か「WebSocket」を選んでください。",
    "webrtc-refused": "WebRTC での通話をサーバーが拒否しました。",
    "webrtc-no-path":
      "WebRTC では音声が届きませんでした。途中のファイアウォールが UDP を遮断している可能性があります。左上の接続方式で「自動」か「WebSocket」を選んでください。",
    quality: "通信品質",
    "quality-good": "良好",
    "quality-fair": "普通",
    "quality-poor": "不安定",
    "quality-loss": "パケット損失（受信／送信）",
    "quality-jitter": "ジッター",
    "quality-round-trip": "往復時間",
    "quality-buffer": "再生待ち",
    "no-quality": "損失・ジッター・往復時間は WebRTC での通話中に測定されます。",
    theme: "明るい／暗い",
    language: "言語",
    "level-you": "あなたの音量",
    "level-kaiwa": "Kaiwa の音量",
    "state-closed": "未接続",
    "state-connecting": "接続中",
    "state-open": "接続済み",
    "state-waiting": "再接続中",
    "state-blocked": "拒否されました",
    "retry-in": "{s} 秒後に再接続します",
    "retry-now": "今すぐ再接続",
    dismiss: "閉じる",
    mock: "モック",
    fallback: "代替 ×{n}",
    down: "停止中",
    providers: "プロバイダー",
    warning: "サーバーの警告：{text}",
    "server-unreachable": "サーバーが応答しません。起動していますか。",
    "mic-refused":
      "マイクの使用が拒否されました。ブラウザのアドレスバー（とシステムのプライバシー設定）でこのページに許可し、「話す」を押してください。文字でも質問できます。",
    "mic-missing": "マイクが見つかりません。接続して「話す」を押すか、文字で質問してください。",
    "mic-in-use":
      "マイクは別のプログラムが使用中です。そのプログラムを閉じて「話す」を押すか、別のマイクを選んでください。",
    "mic-failed": "マイクを開始できませんでした：{detail}",
    "mic-muted": "マイクはシステムか本体のスイッチでミュートされています。そちらで解除してください。",
    "mic-silent": "マイクから無音しか届きません。スイッチを確認するか、別のマイクを選んでください。",
    "mic-lost": "マイクが外れました。もう一度接続するか、別のマイクを選んでください。",
    "mic-unsupported": "このブラウザではマイクを使えません。最新の Chrome、Firefox、Safari をお使いください。",
    "insecure-context":
      "ブラウザは安全なページにだけマイクを許可します。https://… か http://localhost で開いてください。文字での質問はこのままできます。",
    "audio-failed": "音声を開始できませんでした：{detail}",
    "key-needed": "このサーバーには API キーが必要です。",
    "key-refused": "このキーは受け付けられませんでした。",
    "key-label": "API キー",
    "key-use": "接続",
    "key-note": "このタブだけに、閉じるまで保存されます。",
    "origin-refused":
      "サーバーはこのページのアドレスを受け付けません。管理者が {detail} を許可リストに加える必要があります。",
    "server-full": "回線がすべて使用中です。",
    "server-gone": "サーバーとの接続が切れました。",
    "server-error": "サーバーからのエラー：{detail}",
    "server-stopping": "サーバーが停止しています。復旧しだい再接続します。",
    "call-broke":
      "通話が途切れました。通信が止まったか、サーバー内部の不具合です（原因はサーバーのログにあります）。新しい通話に接続しています。",
    "call-ended": "通話は終了しました。「話す」で新しい通話を始められます。",
    "call-refused":
      "このページの送信内容をサーバーが理解できず、通話が終了しました。ページを再読み込みしてください。",
    "frame-too-long":
      "一度に送るデータが大きすぎたため、サーバーが通話を終了しました。ページを再読み込みしてください。",
    "question-too-long":
      "質問が {length} 文字あります。上限は {most} 文字です。短くしてから送信してください。",
  },
};

export const LANGUAGES = Object.keys(WORDS);

let current = "en";

export function language() {
  return current;
}

/** The browser's first language of ours. */
export function preferredLanguage() {
  const wanted = navigator.languages?.map((tag) => tag.split("-")[0]) ?? [];
  return wanted.find((tag) => LANGUAGES.includes(tag)) ?? "en";
}

/** @param {string} name of the text; `values` fill its {places} */
export function t(name, values = {}) {
  const text = WORDS[current][name] ?? WORDS.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (place, key) => straight(values[key] ?? place));
}

/** Without the characters that would turn round what stands behind it in the same line. */
export function straight(text) {
  return String(text).replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
}

/** Write the texts that stand in the page: data-t="name", data-t-label="name of the aria-label". */
export function speak(tag) {
  current = LANGUAGES.includes(tag) ? tag : "en";
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
    if (element.matches("button, summary")) element.title = t(element.dataset.tLabel);
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
}

export const texts = WORDS;
