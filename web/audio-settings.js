// The panel of devices: microphone, speaker, and what the browser does with the microphone's sound.

import { t } from "./i18n.js";
import { Microphone, PROCESSING } from "./microphone.js";
import { remembered } from "./remembered.js";
import { Sound } from "./sound.js";

const $ = (id) => document.getElementById(id);

export class AudioSettings {
  /**
   * @param {import("./call.js").Call} call
   * @param {() => void} chosen told when another device or processing is chosen
   */
  constructor(call, chosen) {
    this.call = call;
    this.chosen = chosen;
    call.outputId = remembered.get("output") ?? "";
    call.processing = Object.fromEntries(
      PROCESSING.map((name) => [name, remembered.get(name) !== "false"]),
    );
    call.addEventListener("microphone", () => this.showGranted());
    $("devices").addEventListener("change", ({ target }) => this.chooseMicrophone(target.value));
    $("outputs").addEventListener("change", ({ target }) => this.chooseOutput(target.value));
    for (const name of PROCESSING) {
      $(name).checked = call.processing[name];
      $(name).addEventListener("change", () => this.chooseProcessing());
    }
    navigator.mediaDevices?.addEventListener("devicechange", () => this.refresh());
    document.addEventListener("click", ({ target }) => {
      for (const panel of document.querySelectorAll("details.panel[open]")) {
        if (!panel.contains(target)) panel.open = false;
      }
    });
    this.showGranted();
  }

  get microphoneId() {
    return remembered.get("device") ?? "";
  }

  chooseMicrophone(deviceId) {
    remembered.set("device", deviceId);
    this.chosen();
    this.call.choose(deviceId);
  }

  chooseOutput(deviceId) {
    remembered.set("output", deviceId);
    this.call.setOutput(deviceId);
  }

  chooseProcessing() {
    const processing = Object.fromEntries(PROCESSING.map((name) => [name, $(name).checked]));
    for (const [name, isOn] of Object.entries(processing)) remembered.set(name, String(isOn));
    this.chosen();
    this.call.process(processing);
  }

  /** One that was unplugged may be back, or another in its place. */
  async refresh() {
    const { microphone } = this.call;
    if (microphone && !microphone.isOpen) await this.call.choose(this.microphoneId);
    await this.list();
  }

  async list() {
    const microphones = await Microphone.devices("audioinput");
    const microphoneId = this.call.microphone?.deviceId || this.microphoneId;
    fill($("devices"), microphones, "device-number", microphoneId);
    const outputs = Sound.canChooseOutput ? await Microphone.devices("audiooutput") : [];
    $("output").hidden = outputs.length === 0;
    fill($("outputs"), outputs, "output-number", this.call.outputId);
  }

  /** What the browser really does; some do only a part of it, or everything always. */
  showGranted() {
    const granted = this.call.microphone?.granted;
    $("granted").hidden = !granted;
    if (!granted) return;
    const state = (value) => t(value === null ? "unknown" : value ? "on" : "off");
    const parts = PROCESSING.map((name) => `${t(name)}: ${state(granted[name])}`);
    $("granted").textContent = `${t("granted")} ${parts.join(" · ")}`;
  }
}

function fill(select, devices, numbered, chosen) {
  const options = devices.map(({ deviceId, label }, index) => {
    return new Option(label || t(numbered, { n: index + 1 }), deviceId);
  });
  if (!devices.some(({ deviceId }) => deviceId === "default")) {
    options.unshift(new Option(t("device-default"), ""));
  }
  select.replaceChildren(...options);
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}
