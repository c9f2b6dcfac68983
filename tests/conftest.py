from __future__ import annotations

import signal

# Shells start what runs in the background with Ctrl-C ignored, and programs that tests interrupt
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
