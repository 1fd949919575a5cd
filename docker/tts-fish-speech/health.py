"""Whether the server answers. It answers nobody while it speaks, so a check must have patience."""

import os
import sys
import urllib.request

if __name__ == "__main__":
    address = f"http://127.0.0.1:{os.environ.get('TTS_PORT') or '8080'}/v1/health"
    request = urllib.request.Request(address)
    if key := os.environ.get("TTS_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        urllib.request.urlopen(request, timeout=20)
    except OSError as error:
        sys.exit(str(error))
