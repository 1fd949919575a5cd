"""Every message a client sends or gets on `WS /v1/realtime`; the OpenAI Realtime GA subset.

Sources: the GA types of the `openai` SDK and what four stock clients were found to need. Three of
those needs are easy to break and are held by tests: a user `input_audio` content always has the key
`transcript`; nothing optional of an item is ever null; `transcription` echoes only the keys
model, language and prompt.
"""

from voice.client_events import *  # noqa: F403
from voice.items import *  # noqa: F403
from voice.server_events import *  # noqa: F403
