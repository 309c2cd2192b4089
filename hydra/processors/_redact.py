"""
Redaction by key: decide which fields hide a secret, without looking at their values.

Rule 1: a key is read as words, split at `_ - . / :`, spaces and camelCase, in any case. It is
secret if one of its words, or some neighbouring words joined, is on the list:
`api_key`, `apiKey` and `X-Api-Key` all hold `apikey`.
Rule 2: words match whole: `tokens` is a count and is shown, `token` is not. A word that is
written together ends the question: `accesstoken` ends in `token`.
Rule 3: a key that goes on to speak about the secret, as in `token_count` or
`password_length`, is shown.
Rule 4: the verdict on a key is kept, so that the usual case is one dict access.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

DEFAULT_KEYS: Final[tuple[str, ...]] = (
    "password",
    "passwords",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "db_pass",
    "user_pass",
    "secret",
    "secrets",
    "token",
    "access_tokens",
    "refresh_tokens",
    "authorization",
    "bearer",
    "cookie",
    "cookies",
    "api_key",
    "api_keys",
    "access_key",
    "account_key",
    "private_key",
    "signing_key",
    "encryption_key",
    "ssh_key",
    "credential",
    "credentials",
    "session_id",
    "session_key",
    "sessid",
    "phpsessid",
    "jsessionid",
    "csrf",
    "xsrf",
    "jwt",
    "otp",
    "cvv",
    "cvc",
    "ssn",
    "card_number",
    "credit_card",
)
MASK: Final = "***"

_ENDINGS: Final = ("password", "passwd", "passphrase", "secret", "token", "apikey")
_ABOUT: Final = frozenset(
    {"count", "counts", "usage", "limit", "length", "size", "type", "expires", "expiry", "ttl"}
    | {"at", "enabled", "valid"}
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")
_KNOWN: Final = 4_096
_KEY_LIMIT: Final = 512


def words(key: str) -> list[str]:
    """Return the words of *key* in lower case."""
    return [word.casefold() for word in _WORD.findall(key[:_KEY_LIMIT])]


class Redactor:
    """
    Say which keys hide a secret. Safe to share between threads.

    Only keys are judged: a secret inside a message or under a harmless key is shown.

    Args:
        keys: What is secret, written in any style; replaces the default list.
        mask: What is shown in the place of a secret.
    """

    __slots__ = ("_longest", "_secret", "_verdicts", "mask")

    def __init__(self, keys: Iterable[str] = DEFAULT_KEYS, mask: str = MASK) -> None:
        split = [found for found in map(words, keys) if found]
        self._secret = frozenset("".join(found) for found in split)
        # In how many words a listed key may come: `apikey` may be written `a_p_i_key`,
        # but nobody does; one word more than listed covers odd camelCase.
        self._longest = max(map(len, split), default=0) + 1
        self._verdicts: dict[str, bool] = {}
        self.mask = mask

    def verdict(self, key: str) -> bool:
        """Return whether the value under *key* is secret."""
        found = self._verdicts.get(key)
        if found is None:
            found = self._judge(words(key))
            if len(self._verdicts) >= _KNOWN:
                # Replaced, not shrunk: keys made of data cannot fill the memory, and
                # a thread that still holds the old dict is not disturbed.
                self._verdicts = {}
            self._verdicts[key] = found
        return found

    def _judge(self, found: list[str]) -> bool:
        size = len(found)
        for start in range(size):
            word = found[start]
            last = start
            secret = any(word.endswith(end) and end in self._secret for end in _ENDINGS)
            joined = ""
            for end in range(start, min(size, start + self._longest)):
                joined += found[end]
                if joined in self._secret:
                    secret, last = True, end
            if secret and (last == size - 1 or found[-1] not in _ABOUT):
                return True
        return False
