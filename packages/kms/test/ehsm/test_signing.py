import unittest

from ehsm_client import Client, Refused, signature
from support import EhsmCase


class GeneralTest(EhsmCase):
    def test_version(self):
        self.assertEqual("0.4.0", self.client.get("GetVersion")["version"])

    def test_enroll(self):
        account = self.connect().enroll()
        self.assertRegex(account["appid"], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertRegex(account["apikey"], r"^[0-9A-HJ-NP-Za-kmnp-z]{32}$")

    def test_other_spellings_of_the_path(self):
        for path in ["/ehsm/", "/EHSM", "/eHsm/"]:
            client = self.connect(path)
            client.appid, client.apikey = self.client.appid, self.client.apikey
            self.assertEqual([], client.call("ListKey")["list"])

    def test_methods(self):
        for action in ["Enroll", "GetVersion"]:
            status, envelope = self.client.exchange("POST", action, b"{}")
            self.assertEqual((200, 404, {}), (status, envelope["code"], envelope["result"]))
        status, envelope = self.client.exchange("GET", "ListKey")
        wanted = {"code": 400, "message": "Missing required parameters", "result": {}}
        self.assertEqual((200, wanted), (status, envelope))
        self.assertRefused(404, "API Not Found", self.client.call, "NoSuchAction", {"a": "b"})
        self.assertRefused(404, "API Not Found", self.client.call, "listkey")


class RotationTest(EhsmCase):
    def old(self):
        """A client that still signs with the API key of before."""
        client = self.connect()
        client.appid, client.apikey = self.client.appid, self.client.apikey
        return client

    def test_the_old_key_is_taken_for_the_overlap(self):
        old = self.old()
        result = self.client.call("RotateApiKey", {"overlap": 60})
        self.client.apikey = result["apikey"]
        self.assertRegex(result["apikey"], r"^[0-9A-HJ-NP-Za-kmnp-z]{32}$")
        self.assertEqual([], self.client.call("ListKey")["list"])
        self.assertEqual([], old.call("ListKey")["list"])
        message = "the API key was replaced; sign with the present one"
        self.assertRefused(400, message, old.call, "RotateApiKey", {"overlap": 60})

    def test_without_an_overlap_it_ends_at_once(self):
        old = self.old()
        self.client.apikey = self.client.call("RotateApiKey", {"overlap": 0})["apikey"]
        self.assertRefused(400, "sign error", old.call, "ListKey")
        self.assertEqual([], self.client.call("ListKey")["list"])

    def test_fields(self):
        for value in [-1, 2592001]:
            with self.assertRaises(Refused):
                self.client.call("RotateApiKey", {"overlap": value})
        for value in ["60", 1.5, True, [], {}]:
            message = "Parameter invalid, The overlap must be of integer type."
            self.assertRefused(400, message, self.client.call, "RotateApiKey", {"overlap": value})


class SigningTest(EhsmCase):
    def refuses(self, message, **changes):
        members = {**self.client.signed({}), **changes}
        members = {name: value for name, value in members.items() if value != "absent"}
        status, envelope = self.client.post("ListKey", members)
        self.assertEqual((200, 400, {}), (status, envelope["code"], envelope["result"]))
        self.assertEqual(message, envelope.get("message"))

    def test_form(self):
        for name in ["appid", "timestamp", "sign"]:
            for value in ["absent", "", None]:
                self.refuses("Missing required parameters", **{name: value})
            for value in [1, True, [], ["x"], {}, {"a": 1}]:
                self.refuses("param type error", **{name: value})
        for value in [1, "text", [], [1], True]:
            self.refuses("param type error", payload=value)
        self.refuses("Nonce length error", nonce="n" * 65)
        for value in [{}, [], True]:
            self.refuses("param type error", nonce=value)
        for value in ["1", "1" * 12, "1" * 14]:
            self.refuses("Timestamp length error", timestamp=value)
        for value in ["1" * 13, "x" * 13, "1e12345678901", " 170000000000"]:
            self.refuses("Timestamp error", timestamp=value)

    def test_form_is_told_in_order(self):
        self.refuses("Missing required parameters", sign="", appid=1)
        self.refuses("param type error", appid=1, nonce="n" * 65)
        self.refuses("Nonce length error", nonce="n" * 65, timestamp="1")

    def test_payload_is_needed(self):
        for action in ["CreateKey", "Encrypt", "Sign", "GetParametersForImport"]:
            self.assertRefused(400, "Missing required parameters", self.client.call, action)

    def test_clock(self):
        now = int(Client.now())
        for skew in [-600_000, 610_000]:
            work = self.client.call
            self.assertRefused(400, "Timestamp error", work, "ListKey", timestamp=str(now + skew))
        for skew in [-590_000, 590_000]:
            self.client.call("ListKey", timestamp=str(now + skew))

    def test_signature(self):
        self.refuses("sign error", sign=signature("another key", {}))
        self.refuses("sign error", sign="x")
        good = self.client.signed({})
        self.refuses("sign error", sign=good["sign"].upper())
        self.refuses("sign error", nonce="1")
        self.refuses("sign error", payload={"a": "b"})
        self.refuses(None, appid="00000000-0000-4000-8000-000000000000")

    def test_no_json(self):
        for body in [b"{", b"hello", b"\xff", b"{'a': 1}"]:
            status, envelope = self.client.exchange("POST", "ListKey", body)
            wanted = {"code": 400, "message": "Invalid JSON", "result": {}}
            self.assertEqual((200, wanted), (status, envelope))

    def test_too_much(self):
        # The head alone: the server need not wait for what it is not going to take.
        connection = self.client.connection
        connection.putrequest("POST", "/ehsm?Action=ListKey")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(100 * 1024 + 1))
        connection.endheaders()
        self.assertEqual(413, connection.getresponse().status)

    def test_replay(self):
        repeated = "Timestamp can't be repeated in 20 minutes"
        for nonce in [None, "8675309"]:
            members = self.client.signed({"keyspec": "x"}, nonce=nonce)
            self.client.answer(*self.client.post("ListKey", members))
            for action in ["ListKey", "DeleteAllKey"]:
                status, envelope = self.client.post(action, members)
                self.assertEqual((400, repeated), (envelope["code"], envelope["message"]))
        timestamp = Client.now()
        self.client.call("ListKey", timestamp=timestamp)
        self.assertRefused(400, repeated, self.client.call, "ListKey", {}, timestamp=timestamp)
        self.client.call("ListKey", timestamp=timestamp, nonce="other")

    def test_replay_in_another_dress(self):
        repeated = "Timestamp can't be repeated in 20 minutes"
        for nonce, payload, change in [
            (None, {}, {"nonce": ""}),
            (None, {}, {"nonce": 0}),
            (None, {}, {"nonce": None}),
            ("7", {}, {"nonce": 7}),
            ("x", {}, {"nonce": "x&payload=", "payload": None}),
            ("x", {"a": "b"}, {"nonce": "x&payload=a=b", "payload": None}),
            ("x", {"a": "b", "c": "d"}, {"payload": {"a": "b&c=d"}}),
        ]:
            members = self.client.signed(payload, nonce=nonce)
            self.client.answer(*self.client.post("ListKey", members))
            changed = {**members, **change}
            if changed["payload"] is None:
                del changed["payload"]
            self.assertNotEqual(members, changed)
            status, envelope = self.client.post("DeleteAllKey", changed)
            self.assertEqual((400, repeated), (envelope["code"], envelope["message"]))

    def test_a_refused_signature_is_no_use(self):
        timestamp = Client.now()
        forged = {**self.client.signed(timestamp=timestamp), "sign": "x" * 44}
        self.client.post("ListKey", forged)
        self.client.call("ListKey", timestamp=timestamp)

    def test_what_is_signed(self):
        for payload in [
            {"n": 7, "t": True, "f": False, "z": 0, "e": [], "text": "naïve & name=1\t"},
            {"o": {}, "deep": {"b": 1, "a": {"c": "d"}}, "empty": "", "none": None},
        ]:
            self.client.call("ListKey", payload)


if __name__ == "__main__":
    unittest.main()
