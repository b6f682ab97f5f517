"""What the stand-ins share: SIGSTRUCT and the records of MRENCLAVE (Intel SDM volume 3D, chapters 34 and 37)."""

import hashlib
import pathlib
import re
import struct
import subprocess

PAGE = 4096


class Measurement:
    """MRENCLAVE, record by record."""

    def __init__(self, size, ssa_frame_pages):
        self.sha = hashlib.sha256(b"ECREATE\0" + struct.pack("<IQ", ssa_frame_pages, size) + bytes(44))

    def page(self, offset, flags, content=None):
        self.sha.update(b"EADD\0\0\0\0" + struct.pack("<QQ", offset, flags) + bytes(40))
        if content is None:
            return
        assert len(content) == PAGE, len(content)
        for at in range(0, PAGE, 256):
            self.sha.update(b"EEXTEND\0" + struct.pack("<Q", offset + at) + bytes(48))
            self.sha.update(content[at : at + 256])

    def pages(self, offset, flags, content):
        for at in range(0, len(content), PAGE):
            self.page(offset + at, flags, content[at : at + PAGE].ljust(PAGE, b"\0"))

    def digest(self):
        return self.sha.digest()


def load_segments(path):
    """PT_LOAD segments and entry point of an ELF file."""
    data = pathlib.Path(path).read_bytes()
    (entry, phoff) = struct.unpack_from("<QQ", data, 24)
    (phentsize, phnum) = struct.unpack_from("<HH", data, 54)
    segments = []
    for index in range(phnum):
        (kind, flags, offset, vaddr, _, filesz, memsz, _) = struct.unpack_from(
            "<IIQQQQQQ", data, phoff + index * phentsize
        )
        if kind == 1:
            segments.append((flags, vaddr, memsz, data[offset : offset + filesz]))
    return segments, entry


def modulus_of(key):
    out = subprocess.run(
        ["openssl", "rsa", "-in", key, "-noout", "-modulus"], check=True, capture_output=True, text=True
    ).stdout
    return int(re.match(r"Modulus=([0-9A-F]+)", out).group(1), 16)


def le(number, size=384):
    return number.to_bytes(size, "little")


def sign_sigstruct(key, *, mrenclave, flags, flags_mask, xfrm, xfrm_mask, prod_id, svn, date, misc=(0, 0xFFFFFFFF)):
    head = bytes.fromhex("06000000e10000000000010000000000") + struct.pack("<II", 0, int(date, 16))
    head += bytes.fromhex("01010000600000006000000001000000") + bytes(4 + 84)
    body = struct.pack("<II", *misc) + bytes(4 + 16)
    body += struct.pack("<QQQQ", flags, xfrm, flags_mask, xfrm_mask)
    body += mrenclave + bytes(32) + struct.pack("<HH", prod_id, svn)
    assert (len(head), len(body)) == (128, 128)
    signature = int.from_bytes(
        subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", key], input=head + body, check=True, capture_output=True
        ).stdout,
        "big",
    )
    n = modulus_of(key)
    q1 = signature * signature // n
    q2 = (signature**3 - q1 * signature * n) // n
    return head + le(n) + struct.pack("<I", 3) + le(signature) + body + bytes(12) + le(q1) + le(q2)


def check_sigstruct(data):
    """What EINIT checks; gives the facts, or raises."""
    assert len(data) == 1808, "length"
    n = int.from_bytes(data[128:512], "little")
    s = int.from_bytes(data[516:900], "little")
    digest = hashlib.sha256(data[:128] + data[900:1028]).digest()
    encoded = b"\0\1" + b"\xff" * 330 + b"\0" + bytes.fromhex("3031300d060960864801650304020105000420") + digest
    if pow(s, 3, n) != int.from_bytes(encoded, "big"):
        raise ValueError("SIGSTRUCT: the signature does not verify")
    q1 = s * s // n
    if data[1040:1424] != le(q1) or data[1424:1808] != le((s**3 - q1 * s * n) // n):
        raise ValueError("SIGSTRUCT: Q1 or Q2 is wrong")
    (flags, _, flags_mask, _) = struct.unpack_from("<QQQQ", data, 928)
    (prod_id, svn) = struct.unpack_from("<HH", data, 1024)
    return {
        "mrEnclave": data[960:992].hex(),
        "mrSigner": hashlib.sha256(data[128:512]).hexdigest(),
        "debug": bool(flags & 2),
        "debugMasked": bool(flags_mask & 2),
        "isvProdId": prod_id,
        "isvSvn": svn,
    }
