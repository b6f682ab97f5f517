"""A client of the eHSM wire protocol, written from its description alone: standard library only."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
import urllib.parse


class Refused(Exception):
    """An answer whose code is not 200."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def string_to_sign(members):
    """Members in the order of their names, those without a value left out."""
    parts = []
    for name in sorted(members):
        value = members[name]
        if value is None or value == "" or value == 0 or value is False or value == []:
            continue
        if isinstance(value, dict):
            value = string_to_sign(value)
        elif value is True:
            value = "true"
        parts.append(f"{name}={value}")
    return "&".join(parts)


def signature(api_key, members):
    """Base64 of the HMAC, with the characters of the API key as the key."""
    text = string_to_sign(members).encode()
    return base64.b64encode(hmac.new(api_key.encode(), text, hashlib.sha256).digest()).decode()


def b64(data):
    return base64.b64encode(data).decode()


class Client:
    """One account at one server, over one connection."""

    last_timestamp = 0

    def __init__(self, url, cafile, path="/ehsm"):
        self.address = urllib.parse.urlsplit(url)
        self.path = path
        context = ssl.create_default_context(cafile=cafile)
        context.check_hostname = False
        self.connection = http.client.HTTPSConnection(
            self.address.hostname, self.address.port, context=context, timeout=60
        )
        self.appid = None
        self.apikey = None

    def close(self):
        self.connection.close()

    def exchange(self, method, action, body=None, headers=None):
        """Sends bytes, and gives the status and the parsed answer."""
        headers = {"Content-Type": "application/json", **(headers or {})}
        self.connection.request(method, f"{self.path}?Action={action}", body, headers)
        response = self.connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text else None

    def get(self, action, headers=None):
        return self.answer(*self.exchange("GET", action, headers=headers))

    @staticmethod
    def answer(status, envelope):
        assert status == 200, f"HTTP status {status}"
        assert "result" in envelope, f"an answer without result: {envelope}"
        if envelope["code"] != 200:
            raise Refused(envelope["code"], envelope.get("message"))
        assert "success" in envelope["message"].lower() or "deleted after" in envelope["message"]
        return envelope["result"]

    def enroll(self, token=None):
        headers = None if token is None else {"Authorization": f"Bearer {token}"}
        account = self.get("Enroll", headers)
        self.appid, self.apikey = account["appid"], account["apikey"]
        return account

    @classmethod
    def now(cls):
        """The time in ms, never the same twice: requests without nonce differ by it alone."""
        cls.last_timestamp = max(cls.last_timestamp + 1, time.time_ns() // 1_000_000)
        return str(cls.last_timestamp)

    def signed(self, payload=None, nonce=None, timestamp=None):
        members = {"appid": self.appid, "timestamp": timestamp or self.now()}
        if payload is not None:
            members["payload"] = payload
        if nonce is not None:
            members["nonce"] = nonce
        return {**members, "sign": signature(self.apikey, members)}

    def post(self, action, members):
        return self.exchange("POST", action, json.dumps(members).encode())

    def envelope(self, action, payload=None, **options):
        """The whole answer, whatever its code."""
        status, envelope = self.post(action, self.signed(payload, **options))
        assert status == 200, f"HTTP status {status}"
        return envelope

    def call(self, action, payload=None, **options):
        """The result of a call. Raises Refused."""
        return self.answer(*self.post(action, self.signed(payload, **options)))

    def create(self, keyspec, usage="ENCRYPT_DECRYPT", origin="INTERNAL"):
        """The id of a new key."""
        payload = {
            "keyspec": f"EH_{keyspec}",
            "origin": f"EH_{origin}_KEY",
            "keyusage": f"EH_KEYUSAGE_{usage}",
        }
        return self.call("CreateKey", payload)["keyid"]
