"""Opens ciphertexts with Tink.

Reads from standard input a JSON list of
{keyHex, segmentSize, associatedDataHex, ciphertextBase64} and prints a JSON
list, in the same order, of {plaintextSha256, plaintextLength} or {error}.
"""

import base64
import hashlib
import io
import json
import sys

from keysets import primitive


def open_sealed(item: dict) -> dict:
    try:
        source = io.BytesIO(base64.b64decode(item['ciphertextBase64'], validate=True))
        aead = primitive(bytes.fromhex(item['keyHex']), item['segmentSize'])
        associated_data = bytes.fromhex(item['associatedDataHex'])
        with aead.new_decrypting_stream(source, associated_data) as reader:
            data = reader.read()
    except Exception as error:  # every failure is an answer here
        return {'error': f'{type(error).__name__}: {error}'}
    return {
        'plaintextSha256': hashlib.sha256(data).hexdigest(),
        'plaintextLength': len(data),
    }


def main() -> None:
    json.dump([open_sealed(item) for item in json.load(sys.stdin)], sys.stdout)


if __name__ == '__main__':
    main()
