"""Verifies an exported audit log from docs/formats/audit-log.md alone: standard library and openssl.

usage: verify_export.py PIN EXPORT     (PIN: the key service's kms.json)
"""

import base64
import hashlib
import json
import subprocess
import sys
import tempfile


class Refused(Exception):
    pass


def require(holds, what):
    if not holds:
        raise Refused(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def from_base64(text):
    data = base64.b64decode(text, validate=True)
    require(base64.b64encode(data).decode() == text, "base64")
    return data


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def openssl_verifies(spki, message, signature, *options):
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}" for name in ("key", "message", "signature")]
        for path, data in zip(paths, (spki, message, signature)):
            with open(path, "wb") as file:
                file.write(data)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
        command += ["-inkey", paths[0], "-in", paths[1], "-sigfile", paths[2], *options]
        return subprocess.run(command, capture_output=True).returncode == 0


def der_integer(data):
    data = data.lstrip(b"\0") or b"\0"
    if data[0] & 0x80:
        data = b"\0" + data
    return b"\x02" + bytes([len(data)]) + data


def log_key_of(statement, pin):
    """The log key statement: a compact JWS, ES256, by the identity key."""
    header, payload, signature = statement.split(".")
    require(json.loads(from_base64url(header))["typ"] == "cloister-log-key+jws", "type")
    raw = from_base64url(signature)
    body = der_integer(raw[:32]) + der_integer(raw[32:])
    der = b"\x30" + bytes([len(body)]) + body
    identity = from_base64url(pin["identityKey"])
    signed = f"{header}.{payload}".encode()
    require(openssl_verifies(identity, signed, der, "-digest", "sha256"), "log key statement")
    claims = json.loads(from_base64url(payload))
    require(claims["kmsId"] == pin["kmsId"], "key service")
    name, key_id, data = claims["logKey"].split("+", 2)
    key = from_base64(data)
    require(len(key) == 33 and key[0] == 1, "Ed25519 key")
    require(sha256(name.encode(), b"\n", key)[:4].hex() == key_id, "key id")
    require(name == f"kms.cloister.invalid/{pin['kmsId']}", "name of the log")
    return name, bytes.fromhex(key_id), key[1:]


def open_checkpoint(note, log_key):
    name, key_id, key = log_key
    end = note.rindex("\n\n")
    text, lines = note[: end + 1], note[end + 2 :].split("\n")
    require(lines.pop() == "", "last newline")
    signed = False
    for line in lines:
        dash, signer, data = line.split(" ")
        require(dash == "\u2014", "signature line")
        signature = from_base64(data)
        if signer != name or signature[:4] != key_id:
            continue
        spki = bytes.fromhex("302a300506032b6570032100") + key
        require(openssl_verifies(spki, text.encode(), signature[4:]), "signature of a checkpoint")
        signed = True
    require(signed, "no signature by the log key")
    origin, size, root, rest = text.split("\n")
    require(rest == "" and origin == name and str(int(size)) == size, "lines of a checkpoint")
    return int(size), from_base64(root)


def root_of(frontier):
    if not frontier:
        return sha256()
    root = frontier[-1]
    for left in reversed(frontier[:-1]):
        root = sha256(b"\1", left, root)
    return root


def add(frontier, size, leaf):
    """The frontier after a leaf: complete subtrees of the same size are joined."""
    frontier = [*frontier, leaf]
    while size % 2 == 1:
        right, left = frontier.pop(), frontier.pop()
        frontier.append(sha256(b"\1", left, right))
        size //= 2
    return frontier


def verify(pin, file):
    log_key = wanted = None
    size, frontier, rows = 0, [], 0
    known = 0
    for number, line in enumerate(file, 1):
        require(line.endswith(b"\n"), "last newline")
        kind, _, rest = line[:-1].partition(b"\t")
        if number == 1:
            header = json.loads(rest)
            require(kind == b"log" and header["format"] == "cloister-audit-log", "first line")
            require(header["version"] == 1 and header["kmsId"] == pin["kmsId"], "first line")
            log_key, wanted = log_key_of(header["logKey"], pin), header["size"]
        elif kind in (b"row", b"hash"):
            index, digits, *leaf = rest.split(b"\t")
            leaf_hash = bytes.fromhex(digits.decode())
            require(int(index) == size, f"line {number}: wanted row {size}")
            require(len(leaf) == (1 if kind == b"row" else 0), f"line {number}")
            if leaf:
                require(sha256(b"\0", leaf[0]) == leaf_hash, f"row {size} was changed")
                rows += 1
            frontier = add(frontier, size, leaf_hash)
            size += 1
        else:
            note, hashes = rest.split(b"\t")
            require(kind == b"checkpoint", f"line {number}")
            stated, root = open_checkpoint(json.loads(note), log_key)
            require(stated == size, f"line {number}: checkpoint of {stated} rows, seen {size}")
            require(root_of(frontier) == root, f"rows {known} to {size - 1} are not the log's")
            listed = [bytes.fromhex(hash) for hash in hashes.decode().split(",") if hash]
            require(listed == frontier, f"line {number}: frontier")
            known = size
    require(wanted is not None and known == size == wanted, "the log was cut")
    return size, rows


if __name__ == "__main__":
    with open(sys.argv[1]) as pin_file, open(sys.argv[2], "rb") as export:
        try:
            print("intact: %d rows, %d shown" % verify(json.load(pin_file), export))
        except (Refused, ValueError, KeyError) as refusal:
            sys.exit(f"altered: {refusal}")
