"""Users of Elasticsearch's file realm. Standard library only: `compose/prepare.py` uses it too."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping

# Role in our settings to role in the file realm. `kibana` is used by Docker Compose only.
FILE_ROLES = {
    "admin": "superuser",
    "writer": "tickhouse_writer",
    "reader": "tickhouse_reader",
    "kibana": "kibana_system",
}

# A password has 128 random bits, so more rounds would add no security and cost time at the first
# request.
PBKDF2_ROUNDS = 1000


def user_files(passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the text of the files `users` and `users_roles` by name, from password by role."""
    users = "".join(f"tickhouse_{role}:{hashed(password)}\n" for role, password in passwords.items())
    roles = "".join(f"{FILE_ROLES[role]}:tickhouse_{role}\n" for role in passwords)
    return {"users": users, "users_roles": roles}


def hashed(password: str) -> str:
    """Return a password hash for the file realm: PBKDF2 with SHA-512, salt and key of 32 bytes."""
    salt = os.urandom(32)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS, dklen=32)
    return f"{{PBKDF2}}{PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
