"""A client of the key broker, and sealed files, after docs/: nothing but Python and its OpenSSL."""

import base64
import ctypes
import hashlib
import hmac
import json
import os
import secrets
import socket
import struct

_crypto = ctypes.CDLL("libcrypto.so.3")
_crypto.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
_crypto.EVP_aes_256_gcm.restype = ctypes.c_void_p

SEGMENT = 4096
HEADER = 4096
TAG = 16


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Broker:
    """One connection."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["CLOISTER_KEY_BROKER"])

    def send(self, frame):
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)

    def receive(self):
        """A reply, or None where the connection has ended."""
        head = self._exactly(4)
        if head is None:
            return None
        return json.loads(self._exactly(struct.unpack(">I", head)[0]))

    def ask(self, what, **members):
        self.send(json.dumps({"ask": what, **members}).encode())
        reply = self.receive()
        if "error" in reply:
            raise Refused(**reply["error"])
        return reply["ok"]

    def code_of(self, what, **members):
        try:
            self.ask(what, **members)
        except Refused as refused:
            return refused.code
        return "ok"

    def parts(self, name):
        count = next(i["parts"] for i in self.ask("job")["inputs"] if i["name"] == name)
        parts = []
        while len(parts) < count:
            parts += self.ask("parts", input=name, size=2, **{"from": len(parts)})["parts"]
        return parts

    def read(self, dataset, part):
        """A part of an input, opened."""
        deks = self.ask("open", input=dataset["name"], files=[part["fileId"]])["deks"]
        path = os.path.join(dataset["folder"], part["name"])
        return open_sealed(path, _bytes(deks[part["fileId"]]))

    def reread(self, dataset, part):
        """A part of an output that was committed, opened."""
        deks = self.ask("reopen", output=dataset["name"], files=[part["fileId"]])["deks"]
        path = os.path.join(dataset["partsFolder"], part["name"])
        return open_sealed(path, _bytes(deks[part["fileId"]]))

    def write(self, dataset, path, plaintext, number=None, file_id=None, folder=None):
        """A part of an output, sealed and not committed."""
        number = secrets.randbits(32) if number is None else number
        file_id = file_id or secrets.token_hex(16)
        fixed = fixed_part(dataset, file_id, number)
        digest = hashlib.sha256(fixed).hexdigest()
        asked = [{"fileId": file_id, "fixedDigest": digest}]
        key = self.ask("create", output=dataset["name"], files=asked)["files"][file_id]
        name = f"part-{number:05d}-{file_id}.sealed"
        sealed = seal(fixed, _bytes(key["dek"]), key["slots"], plaintext)
        with open(os.path.join(folder or dataset["partsFolder"], name), "wb") as file:
            file.write(sealed)
        return {
            "number": number,
            "name": name,
            "path": path,
            "fileId": file_id,
            "fixedDigest": digest,
            "length": len(sealed),
            "lastTag": sealed[-TAG:].hex(),
            "rows": None,
        }

    def commit(self, dataset, parts, mode="append"):
        self.ask("commit", output=dataset["name"], mode=mode, parts=parts)

    def _exactly(self, length):
        got = b""
        while len(got) < length:
            more = self.socket.recv(length - len(got))
            if more == b"":
                return None
            got += more
        return got


def fixed_part(dataset, file_id, number):
    fixed = {
        "compression": "none",
        "datasetId": dataset["datasetId"],
        "fileId": file_id,
        "mediaType": dataset["mediaType"],
        "part": number,
        "segmentSize": SEGMENT,
        "suite": "AES256_GCM_HKDF",
    }
    text = json.dumps(fixed, separators=(",", ":"), sort_keys=True).encode()
    return b"CLOISTER" + struct.pack(">HII", 1, HEADER, len(text)) + text


def seal(fixed, dek, slots, plaintext):
    key_part = struct.pack(">H", len(slots))
    for slot in slots:
        for text in (slot["kmsId"], slot["cmkId"]):
            key_part += struct.pack(">H", len(text)) + text.encode()
        wrapped = _bytes(slot["wrappedDek"])
        key_part += struct.pack(">IH", slot["cmkVersion"], len(wrapped)) + wrapped
    mac_key = _hkdf(dek, b"", b"cloister sealed v1 header mac")
    mac = hmac.digest(mac_key, fixed + key_part, "sha256")
    header = (fixed + key_part + mac).ljust(HEADER, b"\0")
    salt, prefix = secrets.token_bytes(32), secrets.token_bytes(7)
    key = _hkdf(dek, salt, fixed)
    cuts = [0, SEGMENT - 40 - TAG]
    while cuts[-1] < len(plaintext):
        cuts.append(cuts[-1] + SEGMENT - TAG)
    payload = b"\x28" + salt + prefix
    for index, (start, end) in enumerate(zip(cuts, cuts[1:])):
        nonce = _nonce(prefix, index, index == len(cuts) - 2)
        payload += _gcm(True, key, nonce, plaintext[start:end])
    return header + payload


def open_sealed(path, dek):
    with open(path, "rb") as file:
        sealed = file.read()
    header_length, json_length = struct.unpack(">II", sealed[10:18])
    fixed = sealed[: 18 + json_length]
    size = json.loads(fixed[18:])["segmentSize"]
    payload = sealed[header_length:]
    key, prefix = _hkdf(dek, payload[1:33], fixed), payload[33:40]
    count = -(-len(payload) // size)
    plaintext = b""
    for index in range(count):
        segment = payload[max(40, index * size) : (index + 1) * size]
        plaintext += _gcm(False, key, _nonce(prefix, index, index == count - 1), segment)
    return plaintext


def _bytes(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _hkdf(key, salt, info):
    """One block of RFC 5869 with SHA-256."""
    secret = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(secret, info + b"\x01", "sha256")


def _nonce(prefix, index, is_last):
    return prefix + struct.pack(">IB", index, is_last)


def _gcm(encrypts, key, nonce, text):
    data, tag = (text, None) if encrypts else (text[:-TAG], text[-TAG:])
    context = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())
    out, length = ctypes.create_string_buffer(len(data) + TAG), ctypes.c_int()
    cipher = ctypes.c_void_p(_crypto.EVP_aes_256_gcm())
    _crypto.EVP_CipherInit_ex(context, cipher, None, key, nonce, int(encrypts))
    _crypto.EVP_CipherUpdate(context, out, ctypes.byref(length), data, len(data))
    done = out.raw[: len(data)]
    if not encrypts:
        _crypto.EVP_CIPHER_CTX_ctrl(context, 0x11, TAG, tag)
    ended = _crypto.EVP_CipherFinal_ex(context, out, ctypes.byref(length))
    if encrypts:
        _crypto.EVP_CIPHER_CTX_ctrl(context, 0x10, TAG, out)
        done += out.raw[:TAG]
    _crypto.EVP_CIPHER_CTX_free(context)
    if ended != 1:
        raise ValueError("a segment is not authentic")
    return done
