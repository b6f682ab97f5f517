"""Client of Cloister's key service.

>>> from cloister import KmsClient, Pin
>>> with KmsClient(Pin.load("kms.json"), credential) as kms:  # doctest: +SKIP
...     key = kms.create_key(mode="open", alias="results")
...     sealed = kms.encrypt(key.key_id, b"a secret", context={"table": "people"})
"""

from .ciphertext import decrypt_message, encrypt_message, key_of
from .client import KmsClient
from .errors import KmsConnectionError, KmsError, Reason
from .models import Alias, DataKey, Encrypted, ImportParameters, Key, PublicKey, Rotation
from .pin import Pin
from .transport import Retries

__all__ = [
    "Alias",
    "DataKey",
    "Encrypted",
    "ImportParameters",
    "Key",
    "KmsClient",
    "KmsConnectionError",
    "KmsError",
    "Pin",
    "PublicKey",
    "Reason",
    "Retries",
    "Rotation",
    "decrypt_message",
    "encrypt_message",
    "key_of",
]
