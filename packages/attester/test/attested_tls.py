"""Fresh mode of attested TLS, version 2, from docs/protocols/attested-tls.md alone.

    attested_tls.py client PORT MRENCLAVE [CREDENTIALS]
    attested_tls.py server MRENCLAVE CREDENTIALS

Both sides prove themselves. CREDENTIALS is a PEM file with a key and its certificate. The platform
is at the other end of standard output and input: "quote HEX" asks it for evidence about report
data, "verify HEX" whether evidence verifies. A server says "port N" first. The last line is what
was said over the connection, or "refused" and why.
"""

import hashlib
import os
import socket
import sys

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

ALPN = b"cloister-attest/2"
EXPORTER_LABEL = b"EXPERIMENTAL cloister attested-tls"
HELLO, ANSWER, PROOF, ACCEPT = 1, 2, 3, 4
MAX_PAYLOAD = 131_072
# An SGX quote: a header of 48 bytes, then the report body.
MRENCLAVE, REPORT_DATA = slice(48 + 64, 48 + 96), slice(48 + 320, 48 + 384)


class Refused(Exception):
    pass


def demand(good, why):
    if not good:
        raise Refused(why)


def platform(verb, argument):
    print(verb, argument.hex(), flush=True)
    return sys.stdin.readline().strip()


def u32(number):
    return number.to_bytes(4, "big")


def report_data(connection, role, server_leaf, client_leaf, said):
    fields = [
        b"cloister/attested-tls",
        u32(2),
        role,
        connection.export_keying_material(EXPORTER_LABEL, 32, b""),
        hashlib.sha256(server_leaf).digest(),
        hashlib.sha256(client_leaf).digest() if client_leaf else b"",
        hashlib.sha256(said).digest(),
    ]
    return hashlib.sha512(b"".join(u32(len(field)) + field for field in fields)).digest()


def send(connection, payload):
    connection.sendall(u32(len(payload)) + payload)


def read(connection, length):
    data = b""
    while len(data) < length:
        try:
            data += connection.recv(length - len(data))
        except (SSL.ZeroReturnError, SSL.SysCallError):
            raise Refused("the connection ended")
    return data


def receive(connection, longest):
    length = int.from_bytes(read(connection, 4), "big")
    demand(0 < length <= longest, "a frame of %d bytes" % length)
    return read(connection, length)


def evidence_block(evidence):
    return u32(len(evidence)) + evidence


def evidence_in(block):
    length = int.from_bytes(block[:4], "big")
    demand(0 < length <= len(block) - 4, "no evidence")
    return block[4 : 4 + length]


def appraise(evidence, wanted, mrenclave):
    demand(platform("verify", evidence) == "yes", "evidence does not verify")
    demand(evidence[REPORT_DATA] == wanted, "evidence is not about this connection")
    demand(evidence[MRENCLAVE] == mrenclave, "other code runs there")


def leaf(certificate):
    return certificate and certificate.to_cryptography().public_bytes(Encoding.DER)


def context(credentials):
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_3_VERSION)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    own = None
    if credentials:
        with open(credentials, "rb") as file:
            pem = file.read()
        made.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, pem))
        own = crypto.load_certificate(crypto.FILETYPE_PEM, pem)
        made.use_certificate(own)
    return made, leaf(own)


def client(port, mrenclave, credentials=None):
    made, own = context(credentials)
    made.set_alpn_protos([ALPN])
    connection = SSL.Connection(made, socket.create_connection(("127.0.0.1", int(port))))
    connection.set_connect_state()
    connection.do_handshake()
    demand(connection.get_alpn_proto_negotiated() == ALPN, "another protocol")
    server = leaf(connection.get_peer_certificate())

    hello = bytes([HELLO, 1]) + os.urandom(32)
    send(connection, hello)
    answer = receive(connection, MAX_PAYLOAD)
    demand(len(answer) >= 38 and answer[0] == ANSWER, "no answer")
    demand(answer[1] == 1, "the server demands nothing")
    wanted = report_data(connection, b"server", server, None, hello + answer[:34])
    appraise(evidence_in(answer[34:]), wanted, mrenclave)

    bound = report_data(connection, b"client", server, own, hello + answer)
    send(connection, bytes([PROOF]) + evidence_block(bytes.fromhex(platform("quote", bound))))
    demand(receive(connection, 1) == bytes([ACCEPT]), "no accept")
    connection.sendall(b"from Python")
    return read(connection, len("from Python"))


def server(mrenclave, credentials):
    made, own = context(credentials)
    made.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    made.set_alpn_select_callback(
        lambda _, offered: ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    listening = socket.create_server(("127.0.0.1", 0))
    print("port", listening.getsockname()[1], flush=True)
    connection = SSL.Connection(made, listening.accept()[0])
    connection.set_accept_state()
    connection.do_handshake()
    demand(connection.get_alpn_proto_negotiated() == ALPN, "another protocol")
    peer = leaf(connection.get_peer_certificate())

    hello = receive(connection, 34)
    demand(len(hello) == 34 and hello[:2] == bytes([HELLO, 1]), "no hello that demands evidence")
    opening = bytes([ANSWER, 1]) + os.urandom(32)
    bound = report_data(connection, b"server", own, None, hello + opening)
    answer = opening + evidence_block(bytes.fromhex(platform("quote", bound)))
    send(connection, answer)

    proof = receive(connection, MAX_PAYLOAD)
    demand(proof[0] == PROOF, "no proof")
    wanted = report_data(connection, b"client", own, peer, hello + answer)
    appraise(evidence_in(proof[1:]), wanted, mrenclave)
    send(connection, bytes([ACCEPT]))
    said = read(connection, len("from Node"))
    connection.sendall(said)
    return said


def main(side, *arguments):
    try:
        if side == "client":
            port, mrenclave, *more = arguments
            print("said", client(port, bytes.fromhex(mrenclave), *more).decode())
        else:
            mrenclave, credentials = arguments
            print("said", server(bytes.fromhex(mrenclave), credentials).decode())
    except Refused as refusal:
        print("refused", refusal)


main(*sys.argv[1:])
