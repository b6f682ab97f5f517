"""Writes vectors.json: ciphertexts made by Tink's streaming AEAD.

Tink draws a fresh salt and nonce prefix for each one, so the ciphertexts
differ from run to run; keys, plaintexts and associated data do not.
"""

import base64
import io
import json
import pathlib
from importlib import metadata

from keysets import primitive

KEY = bytes(range(0x40, 0x60))

# Around the ends of the first segment (segment - 40 - 16 bytes of plaintext)
# and of the second (segment - 16 more), then several segments.
LENGTHS = {
    256: [0, 1, 199, 200, 201, 439, 440, 441, 1000, 5000],
    4096: [0, 1, 200, 441, 4039, 4040, 4041, 5000, 70000],
    65536: [0, 1, 1000, 70000],
}


class KeptBytes(io.BytesIO):
    """Keeps what was written: Tink closes the destination with the stream."""

    kept = b''

    def close(self) -> None:
        if not self.closed:
            self.kept = self.getvalue()
        super().close()


def plaintext(length: int) -> bytes:
    return bytes((i * 7 + 3) % 256 for i in range(length))


def encrypt(segment_size: int, data: bytes, associated_data: bytes) -> bytes:
    out = KeptBytes()
    stream = primitive(KEY, segment_size).new_encrypting_stream(out, associated_data)
    with stream as writer:
        written = 0
        while written < len(data):
            written += writer.write(data[written:])
    return out.kept


def main() -> None:
    vectors = []
    for segment_size, lengths in LENGTHS.items():
        for length in lengths:
            name = f'segment {segment_size}, length {length}'
            associated_data = b'' if length == 1 else name.encode()
            ciphertext = encrypt(segment_size, plaintext(length), associated_data)
            vectors.append({
                'keyHex': KEY.hex(),
                'segmentSize': segment_size,
                'associatedDataHex': associated_data.hex(),
                'plaintextLength': length,
                'ciphertextBase64': base64.b64encode(ciphertext).decode(),
            })
    document = {
        'madeBy': f'tink {metadata.version("tink")} (Python)',
        'keyType': 'AesGcmHkdfStreamingKey',
        'hkdfHash': 'SHA256',
        'derivedKeySize': 32,
        'plaintext': 'byte i is (i * 7 + 3) % 256',
        'vectors': vectors,
    }
    path = pathlib.Path(__file__).with_name('vectors.json')
    path.write_text(json.dumps(document, indent=2) + '\n')


if __name__ == '__main__':
    main()
