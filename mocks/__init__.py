"""Scripted stand-ins for every provider, and the clock that tests run them on.

`clock` is virtual time, `faults` what goes wrong and when; `vad stt llm tts embed rerank` are the
providers in process, each delay an argument; `serve` puts the same scripts behind real sockets.
"""
