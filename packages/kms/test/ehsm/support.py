"""What the test cases share: the server, accounts at it, and OpenSSL's tool."""

import os
import subprocess
import tempfile
import unittest

from ehsm_client import Client, Refused


class EhsmCase(unittest.TestCase):
    """A case with an account of its own."""

    def setUp(self):
        self.client = self.connect()
        self.client.enroll()

    def connect(self, path="/ehsm"):
        client = Client(os.environ["EHSM_URL"], os.environ["EHSM_CA"], path)
        self.addCleanup(client.close)
        return client

    def assertRefused(self, code, message, work, *arguments, **options):
        with self.assertRaises(Refused) as caught:
            work(*arguments, **options)
        self.assertEqual((code, message), (caught.exception.code, caught.exception.message))


def openssl(*arguments, **files):
    """Runs OpenSSL; an argument {name} is the path of a file with those bytes."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, data in files.items():
            paths[name] = os.path.join(folder, name)
            with open(paths[name], "wb") as file:
                file.write(data if isinstance(data, bytes) else data.encode())
        command = ["openssl", *(argument.format(**paths) for argument in arguments)]
        return subprocess.run(command, check=True, capture_output=True).stdout
