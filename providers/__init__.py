"""What Kaiwa is given by others: ears (VAD, STT), a mind (LLM), a voice (TTS), an index.

`base` holds the Protocols and the values that cross them; every other module is one provider.
"""
