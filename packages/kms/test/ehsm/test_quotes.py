import base64
import hashlib
import os
import unittest

from ehsm_client import b64, signature
from support import EhsmCase

NOBODY = "00000000-0000-4000-8000-000000000000"
MR_ENCLAVE, MR_SIGNER = "00" * 32, "02" * 32


class QuoteTest(EhsmCase):
    def quote(self, challenge):
        answer = self.client.call("GenerateQuote", {"challenge": challenge})
        self.assertEqual({"challenge", "quote"}, set(answer))
        self.assertEqual(challenge, answer["challenge"])
        return answer["quote"]

    def verify(self, quote, nonce="test", **more):
        answer = self.client.call("VerifyQuote", {"quote": quote, "nonce": nonce, **more})
        members = {name: value for name, value in answer.items() if name != "sign"}
        self.assertEqual(nonce, answer["nonce"])
        self.assertEqual(signature(self.client.apikey, members), answer["sign"])
        return members

    def policy(self, mr_enclave=MR_ENCLAVE, mr_signer=MR_SIGNER):
        payload = {"mr_enclave": mr_enclave, "mr_signer": mr_signer}
        envelope = self.client.envelope("UploadQuotePolicy", payload)
        self.assertEqual("Upload quote policy success.", envelope["message"])
        return envelope["result"]["policyId"]

    def test_a_quote_is_bound_to_challenge_and_identity(self):
        for challenge in [b64(b"ppml\n"), b64(os.urandom(100)), "test"]:
            quote = base64.b64decode(self.quote(challenge))
            self.assertEqual(3, int.from_bytes(quote[:2], "little"))
            identity = os.environ["EHSM_IDENTITY"]
            key = base64.urlsafe_b64decode(identity + "=" * (-len(identity) % 4))
            halves = [base64.b64decode(challenge), key]
            wanted = b"".join(hashlib.sha256(half).digest() for half in halves)
            self.assertEqual(wanted, quote[48 + 320 : 48 + 384])
            self.assertEqual(MR_ENCLAVE, quote[48 + 64 : 48 + 96].hex())

    def test_verification(self):
        quote = self.quote(b64(b"challenge"))
        self.assertEqual({"result": 0, "nonce": "test"}, self.verify(quote))
        policy = self.policy()
        wanted = {
            "result": 0,
            "nonce": "bm9uY2U=",
            "mr_enclave": MR_ENCLAVE,
            "mr_signer": MR_SIGNER,
        }
        self.assertEqual(wanted, self.verify(quote, "bm9uY2U=", policyId=policy))
        raw = bytearray(base64.b64decode(quote))
        for place in [48 + 64, 48 + 320, 440]:
            bent = bytearray(raw)
            bent[place] ^= 1
            for more in [{}, {"policyId": policy}]:
                refused = {"result": 0xA004, "nonce": "test"}
                self.assertEqual(refused, self.verify(b64(bytes(bent)), **more))

    def test_refusals(self):
        quote = self.quote(b64(b"challenge"))
        work = self.client.call
        good = {"quote": quote, "nonce": "test"}
        for mr_enclave, mr_signer in [("11" * 32, MR_SIGNER), (MR_ENCLAVE, "11" * 32)]:
            payload = {**good, "policyId": self.policy(mr_enclave, mr_signer)}
            self.assertRefused(500, "Server exception.", work, "VerifyQuote", payload)
        for text in ["AAAA", b64(b"x" * 5000), b64(base64.b64decode(quote)[:-200])]:
            payload = {**good, "quote": text}
            self.assertRefused(500, "Server exception.", work, "VerifyQuote", payload)
        unknown = {**good, "policyId": NOBODY}
        self.assertRefused(400, "Invalid  policyId.", work, "VerifyQuote", unknown)
        other = self.connect()
        other.enroll()
        foreign = {**good, "policyId": self.policy()}
        self.assertRefused(400, "Invalid  policyId.", other.call, "VerifyQuote", foreign)
        for action, name in [
            ("GenerateQuote", "challenge"),
            ("VerifyQuote", "quote"),
            ("VerifyQuote", "nonce"),
        ]:
            payload = {**good, "challenge": "test"}
            missing = f"Missing required parameters, The {name} cannot be empty."
            self.assertRefused(400, missing, work, action, {**payload, name: ""})
            wrong = f"Parameter invalid, The {name} not a vailed base64 string."
            self.assertRefused(400, wrong, work, action, {**payload, name: "abc"})
            longer = f"Parameter invalid, The {name} length error."
            self.assertRefused(400, longer, work, action, {**payload, name: "A" * 10_928})

    def test_policies(self):
        policy = self.policy("ab" * 32, "cd" * 32)
        envelope = self.client.envelope("GetQuotePolicy", {"policyId": policy})
        self.assertEqual("Query quote policy success.", envelope["message"])
        told = envelope["result"]
        self.assertEqual({"policyId", "mr_enclave", "mr_signer", "createTime"}, set(told))
        self.assertEqual(("ab" * 32, "cd" * 32), (told["mr_enclave"], told["mr_signer"]))
        payload = {"policyId": NOBODY}
        self.assertEqual(payload, self.client.call("GetQuotePolicy", payload))
        good, work = {"mr_enclave": "ab" * 32, "mr_signer": "cd" * 32}, self.client.call
        for name in good:
            for value, message in [
                ("AB" * 32, "format wrong."),
                ("zz" * 32, "format wrong."),
                ("ab" * 31, "length error."),
                ("ab" * 33, "length error."),
                (7, "must be of string type."),
            ]:
                wrong = f"Parameter invalid, The {name} {message}"
                self.assertRefused(400, wrong, work, "UploadQuotePolicy", {**good, name: value})


if __name__ == "__main__":
    unittest.main()
