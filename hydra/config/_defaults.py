"""
Every default of the configuration, in one place.

Rule 1: seconds for durations, bytes for sizes.
Rule 2: a default that depends on another setting is a ratio or a mapping here and
is worked out where the settings are built.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

LEVEL: Final = 20
STRICT: Final = False
CONTROL_RECORDS: Final = True
CALLSITE: Final = False
EXIT_TIMEOUT: Final = 5.0
SIGNALS: Final = False
LIVE_STATS: Final = False

# One record may take 64 KiB, so a smaller queue could refuse a record for ever.
LARGEST_RECORD: Final = 64 * KIB

QUEUE_RECORDS: Final = 50_000
QUEUE_BYTES: Final = 32 * MIB
QUEUE_RESERVE: Final = 5_000
QUEUE_RESERVE_SHARE: Final = 10
"""One part in so many of `queue.records` is the reserve when only the records are given."""
QUEUE_WHEN_FULL: Final = "block"
QUEUE_BLOCK_TIMEOUT: Final = 1.0

JOURNAL_QUOTA: Final = 64 * MIB
JOURNAL_SEGMENT: Final = 1 * MIB
JOURNAL_SMALLEST_SEGMENT: Final = 128 * KIB
JOURNAL_SYNC_INTERVAL: Final = 1.0

REDACT_ENABLED: Final = True
REDACT_MASK: Final = "***"

FILE_MODE: Final = 0o600
CONSOLE_NAME: Final = "console"
STREAM: Final = "stderr"
COLOR: Final = "auto"
STRATEGY: Final = "failover"
HOLD: Final = True
TIMEOUT: Final = 5.0
RETRIES: Final = 2
WRITER: Final = "auto"
BATCH: Final = 4_000
FILE_BATCH: Final = QUEUE_RECORDS // 2
"""`batch` where lines only have to be written to a file: half of a full queue."""
DEAD_LETTERS: Final = 16 * MIB

FORMAT: Final = "json"
CONSOLE_FORMAT: Final = "auto"

FALLBACK_QUOTA: Final = 64 * MIB
FALLBACK_RESERVE_SHARE: Final = 4
"""One part in so many of a fallback's `quota` is its reserve when that is not given."""
