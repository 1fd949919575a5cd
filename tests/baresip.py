"""baresip, Debian's softphone: it calls, plays a WAV, and keeps what it hears.

WAV      ....~~~ question ~~~..........~~~ another ~~~...........|   at its end it hangs up
heard    packets of sound one behind the other, as they came; pauses in which none came are not
         in it
"""

import subprocess
import time
import wave
from pathlib import Path

import numpy as np

from tests import wav_files
from tests.needed import needed
from tests.speech import RATE_HZ, Samples, read_wav, resample, room_noise

MODULES = Path("/usr/lib/baresip/modules")
CONFIG = """\
sip_listen 127.0.0.1:0
audio_source aufile,{wav}
snd_path {folder}
ausrc_srate {rate_hz}
auplay_srate {rate_hz}
ausrc_channels {channels}
auplay_channels {channels}
jitter_buffer_delay 0-2
module_path {modules}
module g711.so
module g722.so
module opus.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
"""
LIMIT_S = 120
UNDER_WAY_S = 0.5
"""Behind the server's last word: the lead, the network, and 100 ms of jitter buffer."""


class Baresip:
    """A call, from the moment it is made.

    Args:
        folder: For its settings and what it hears.
        codec: PCMU, G722/16000/1, opus: as baresip names it.
        spoken: At RATE_HZ; the whole call's.
        more: Of the address: ";transport=tcp".
    """

    def __init__(
        self, folder: Path, port: int, codec: str, spoken: Samples, *, more: str = ""
    ) -> None:
        program = needed("baresip")
        rate_hz = {"PCMU": 8000, "PCMA": 8000, "opus": 48_000}.get(codec, 16_000)
        channels = 2 if codec == "opus" else 1
        self._folder = folder
        folder.mkdir()
        write_wav(folder / "spoken.wav", spoken, rate_hz, channels)
        config = CONFIG.format(
            wav=folder / "spoken.wav",
            folder=folder,
            rate_hz=rate_hz,
            channels=channels,
            modules=MODULES,
        )
        (folder / "config").write_text(config)
        (folder / "accounts").write_text(f"<sip:me@127.0.0.1>;regint=0;audio_codecs={codec}\n")
        seconds = int(len(spoken) / RATE_HZ) + 3
        dial = f"/dial sip:kaiwa@127.0.0.1:{port}{more}"
        self._process = subprocess.Popen(
            [program, "-f", str(folder), "-t", str(seconds), "-e", dial],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )

    def heard(self) -> Samples:
        """What it heard up to now, at RATE_HZ. It hangs up."""
        time.sleep(UNDER_WAY_S)  # its own jitter buffer tells nobody when it is empty
        self._process.terminate()
        said, _ = self._process.communicate(timeout=LIMIT_S)
        told = said.decode(errors="replace").replace("\r", "\n")
        recordings = sorted(self._folder.glob("dump-*-dec.wav"))
        assert "Call established" in told and recordings, told[-2000:]
        return read_wav(mono(recordings[-1]))

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def spoken(*parts: Samples | float) -> Samples:
    """Speech and seconds of pause, in a quiet room."""
    pieces = [
        np.zeros(int(part * RATE_HZ), np.int16) if isinstance(part, float) else part
        for part in parts
    ]
    whole = np.concatenate(pieces).astype(np.int32)
    noisy: Samples = np.clip(whole + room_noise(len(whole), 1), -32768, 32767).astype(np.int16)
    return noisy


def write_wav(path: Path, samples: Samples, rate_hz: int, channels: int) -> None:
    data = resample(samples, RATE_HZ, rate_hz)
    pcm = np.repeat(data[:, None], channels, axis=1).tobytes()
    wav_files.write(path, pcm, rate_hz, channels=channels)


def mono(path: Path) -> Path:
    """The left channel, of two."""
    with wave.open(str(path)) as file:
        channels, rate_hz = file.getnchannels(), file.getframerate()
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    if channels == 1:
        return path
    return wav_files.write(path.with_suffix(".mono"), data[::channels].tobytes(), rate_hz)
