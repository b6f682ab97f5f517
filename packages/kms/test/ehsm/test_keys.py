import base64
import json
import time
import unittest

from ehsm_client import Client, Refused, b64
from support import EhsmCase, openssl

YEAR = 365 * 24 * 60 * 60 * 1000
SYMMETRIC = ["AES_GCM_128", "AES_GCM_192", "AES_GCM_256", "SM4_CTR", "SM4_CBC"]
RSA = ["RSA_2048", "RSA_3072", "RSA_4096"]
EC = ["EC_P224", "EC_P256", "EC_P256K", "EC_P384", "EC_P521"]
NOBODY = "00000000-0000-4000-8000-000000000000"


class KeyManagementTest(EhsmCase):
    def test_create_and_list(self):
        before = time.time_ns() // 1_000_000
        ids = {self.client.create(spec): spec for spec in [*SYMMETRIC, "EC_P256", "SM2"]}
        listed = self.client.call("ListKey")["list"]
        self.assertEqual(ids, {key["keyid"]: key["keyspec"][3:] for key in listed})
        for key in listed:
            members = {"keyid", "creationDate", "expireTime", "alias", "keyspec", "keyState"}
            self.assertEqual(members, set(key))
            self.assertEqual((1, ""), (key["keyState"], key["alias"]))
            self.assertTrue(before <= key["creationDate"] <= before + 60_000)
            self.assertEqual(YEAR, key["expireTime"] - key["creationDate"])

    def test_create_refusals(self):
        create = self.client.call
        good = {"keyspec": "EH_AES_GCM_128", "origin": "EH_INTERNAL_KEY"}
        for name in good:
            missing = f"Missing required parameters, The {name} cannot be empty."
            for value in ["", None]:
                self.assertRefused(400, missing, create, "CreateKey", {**good, name: value})
            wrong = f"Parameter invalid, The {name} type is incorrect."
            self.assertRefused(400, wrong, create, "CreateKey", {**good, name: "EH_WHATEVER"})
            kind = f"Parameter invalid, The {name} must be of string type."
            self.assertRefused(400, kind, create, "CreateKey", {**good, name: 7})
        failed = "Server exception."
        for usage in ["EH_KEYUSAGE_SIGN_VERIFY", "WHATEVER", 5]:
            self.assertRefused(500, failed, create, "CreateKey", {**good, "keyusage": usage})
        hmac_key = {**good, "keyspec": "EH_HMAC"}
        self.assertRefused(500, failed, create, "CreateKey", hmac_key)

    def test_delete(self):
        first, second, third = (self.client.create("AES_GCM_128") for _ in range(3))
        for _ in range(2):
            self.assertEqual({}, self.client.call("DeleteKey", {"keyid": first}))
        work = self.client.call
        payload = {"keyid": first, "plaintext": b64(b"x")}
        self.assertRefused(400, "keyid error", work, "Encrypt", payload)
        for _ in range(2):
            self.assertEqual({}, self.client.call("DeleteAllKey"))
        self.assertEqual([], self.client.call("ListKey")["list"])
        self.assertRefused(400, "keyid error", work, "Encrypt", {**payload, "keyid": third})

    def test_disable_and_enable(self):
        keyid = self.client.create("AES_GCM_256")
        payload = {"keyid": keyid, "plaintext": b64(b"x")}
        for _ in range(2):
            self.assertEqual({}, self.client.call("DisableKey", {"keyid": keyid}))
        self.assertEqual(0, self.client.call("ListKey")["list"][0]["keyState"])
        work = self.client.call
        self.assertRefused(400, "keyid is disabled", work, "Encrypt", payload)
        for _ in range(2):
            self.assertEqual({}, self.client.call("EnableKey", {"keyid": keyid}))
        self.client.call("Encrypt", payload)
        for action in ["EnableKey", "DisableKey"]:
            self.assertRefused(400, "not find this keyid", work, action, {"keyid": NOBODY})

    def test_other_accounts(self):
        keyid = self.client.create("AES_GCM_256")
        other = self.connect()
        other.enroll()
        payload = {"keyid": keyid, "plaintext": b64(b"x")}
        self.assertRefused(400, "appid error", other.call, "Encrypt", payload)
        for action in ["EnableKey", "DisableKey"]:
            self.assertRefused(400, "not find this keyid", other.call, action, {"keyid": keyid})
        other.call("DeleteKey", {"keyid": keyid})
        other.call("DeleteAllKey")
        self.client.call("Encrypt", payload)

    def test_key_ids(self):
        work = self.client.call
        wrong = "Parameter invalid, The keyid format wrong."
        for keyid in ["x" * 36, "AAAAAAAA-0000-4000-8000-000000000000", "0" * 36]:
            self.assertRefused(400, wrong, work, "GetPublicKey", {"keyid": keyid})
        length = "Parameter invalid, The keyid length error."
        self.assertRefused(400, length, work, "GetPublicKey", {"keyid": "0" * 37})
        self.assertRefused(400, "keyid error", work, "GetPublicKey", {"keyid": NOBODY})


class SymmetricTest(EhsmCase):
    def test_round_trip(self):
        for spec in SYMMETRIC:
            keyid = self.client.create(spec)
            for length in [1, 16, 1000, 6000]:
                plaintext = b64(bytes(range(256)) * 24)[: length * 4 // 3 // 4 * 4 or 4]
                for aad in [None, "", "YWFk", "test"]:
                    payload = {"keyid": keyid, "plaintext": plaintext, "aad": aad}
                    ciphertext = self.client.call("Encrypt", payload)["ciphertext"]
                    raw, size = base64.b64decode(ciphertext), len(base64.b64decode(plaintext))
                    padded = size + 16 - size % 16 + 16
                    wanted = size + 28 if spec.startswith("AES") else size + 16
                    self.assertEqual(padded if spec == "SM4_CBC" else wanted, len(raw))
                    payload = {"keyid": keyid, "ciphertext": ciphertext, "aad": aad}
                    self.assertEqual(plaintext, self.client.call("Decrypt", payload)["plaintext"])

    def test_refusals(self):
        keyid, other = self.client.create("AES_GCM_256"), self.client.create("AES_GCM_256")
        plain = {"keyid": keyid, "plaintext": b64(b"hello"), "aad": "YWFk"}
        ciphertext = self.client.call("Encrypt", plain)["ciphertext"]
        good = {"keyid": keyid, "ciphertext": ciphertext, "aad": "YWFk"}
        bent = bytearray(base64.b64decode(ciphertext))
        bent[0] ^= 1
        for change in [
            {"aad": "YWFl"},
            {"aad": None},
            {"keyid": other},
            {"ciphertext": b64(bytes(bent))},
            {"ciphertext": "AAAA"},
            {"keyid": self.client.create("RSA_2048")},
            {"keyid": self.client.create("AES_GCM_256", origin="EXTERNAL")},
        ]:
            work = self.client.call
            self.assertRefused(500, "Server exception.", work, "Decrypt", {**good, **change})
        self.assertEqual(b64(b"hello"), self.client.call("Decrypt", good)["plaintext"])
        say = "Parameter invalid, The plaintext "
        for value, message in [
            ("abc", say + "not a vailed base64 string."),
            ("ab c", say + "not a vailed base64 string."),
            ("a===", say + "not a vailed base64 string."),
            ("A" * 8196, say + "length error."),
            (5, say + "must be of string type."),
            (["x"], say + "must be of string type."),
            ("", "Missing required parameters, The plaintext cannot be empty."),
        ]:
            payload = {**plain, "plaintext": value}
            self.assertRefused(400, message, self.client.call, "Encrypt", payload)
        longer = {**plain, "aad": "A" * 8196}
        message = "Parameter invalid, The aad length error."
        self.assertRefused(400, message, self.client.call, "Encrypt", longer)

    def test_what_is_encrypted_can_be_decrypted(self):
        for spec in SYMMETRIC:
            keyid = self.client.create(spec)
            payload = {"keyid": keyid, "plaintext": b64(bytes(6144))}
            envelope = self.client.envelope("Encrypt", payload)
            self.assertEqual(500 if spec == "SM4_CBC" else 200, envelope["code"])
            if spec != "SM4_CBC":
                opened = {"keyid": keyid, "ciphertext": envelope["result"]["ciphertext"]}
                plaintext = self.client.call("Decrypt", opened)["plaintext"]
                self.assertEqual(payload["plaintext"], plaintext)

    def test_data_keys(self):
        for spec in SYMMETRIC:
            keyid = self.client.create(spec)
            for length in [1, 32, 1024]:
                payload = {"keyid": keyid, "keylen": length, "aad": "YWFk"}
                made = self.client.call("GenerateDataKey", payload)
                self.assertEqual(length, len(base64.b64decode(made["plaintext"])))
                bare = self.client.call("GenerateDataKeyWithoutPlaintext", payload)
                self.assertEqual({"ciphertext"}, set(bare))
                for ciphertext in [made["ciphertext"], bare["ciphertext"]]:
                    opened = {"keyid": keyid, "ciphertext": ciphertext, "aad": "YWFk"}
                    plaintext = self.client.call("Decrypt", opened)["plaintext"]
                    self.assertEqual(length, len(base64.b64decode(plaintext)))
                    if ciphertext == made["ciphertext"]:
                        self.assertEqual(made["plaintext"], plaintext)
        say = "Parameter invalid, The keylen "
        for value, message in [
            ("32", say + "must be of integer type."),
            (1.5, say + "must be of integer type."),
            (1025, say + "value must be less than or equal to 1024."),
            (0, say + "value must be greater than or equal to 1."),
            (-1, say + "value must be greater than or equal to 1."),
            (None, "Missing required parameters, The keylen cannot be empty."),
        ]:
            payload = {"keyid": keyid, "keylen": value}
            self.assertRefused(400, message, self.client.call, "GenerateDataKey", payload)

    def test_bigdl_ppml(self):
        create = {"keyspec": "EH_AES_GCM_128", "origin": "EH_INTERNAL_KEY"}
        keyid = self.client.call("CreateKey", create)["keyid"]
        wrap = {"aad": "test", "keyid": keyid, "keylen": 32}
        ciphertext = self.client.call("GenerateDataKeyWithoutPlaintext", wrap)["ciphertext"]
        opened = {"aad": "test", "ciphertext": ciphertext, "keyid": keyid}
        plaintext = self.client.call("Decrypt", opened)["plaintext"]
        self.assertEqual(32, len(base64.b64decode(plaintext)))
        bound = {**opened, "aad": b64(bytes.fromhex("b5eb2d"))}
        self.assertEqual(plaintext, self.client.call("Decrypt", bound)["plaintext"])

    def test_export(self):
        keyid = self.client.create("AES_GCM_256")
        wrap = {"keyid": keyid, "keylen": 48, "aad": "YWFk"}
        made = self.client.call("GenerateDataKey", wrap)
        export = {"keyid": keyid, "olddatakey_base": made["ciphertext"], "aad": "YWFk"}
        for spec in ["RSA_2048", "SM2"]:
            to = self.client.create(spec)
            exported = self.client.call("ExportDataKey", {**export, "ukeyid": to})["newdatakey"]
            mode = "EH_RSA_PKCS1_OAEP"
            payload = {"keyid": to, "ciphertext": exported, "padding_mode": mode}
            plaintext = self.client.call("AsymmetricDecrypt", payload)["plaintext"]
            self.assertEqual(made["plaintext"], plaintext)
        work = self.client.call
        for ukeyid in [keyid, self.client.create("EC_P256"),
                       self.client.create("RSA_2048", "SIGN_VERIFY")]:
            payload = {**export, "ukeyid": ukeyid}
            self.assertRefused(500, "Server exception.", work, "ExportDataKey", payload)
        wrong = {**export, "ukeyid": to, "aad": "YWFl"}
        self.assertRefused(500, "Server exception.", work, "ExportDataKey", wrong)
        self.assertRefused(400, "keyid error", work, "ExportDataKey", {**export, "ukeyid": NOBODY})
        message = "Missing required parameters, The olddatakey_base cannot be empty."
        old = {"keyid": keyid, "ukeyid": to, "olddatakey": made["ciphertext"]}
        self.assertRefused(400, message, work, "ExportDataKey", old)
        other = self.connect()
        other.enroll()
        foreign = {**export, "ukeyid": other.create("RSA_2048")}
        self.assertRefused(400, "appid error", work, "ExportDataKey", foreign)


class AsymmetricTest(EhsmCase):
    def test_public_keys(self):
        for spec in ["RSA_2048", *EC, "SM2"]:
            for usage in ["ENCRYPT_DECRYPT", "SIGN_VERIFY"]:
                keyid = self.client.create(spec, usage)
                answer = self.client.call("GetPublicKey", {"keyid": keyid})
                self.assertEqual(keyid, answer["keyid"])
                kind = "RSA PUBLIC KEY" if spec.startswith("RSA") else "PUBLIC KEY"
                self.assertTrue(answer["pubkey"].startswith(f"-----BEGIN {kind}-----\n"))
                form = ["-RSAPublicKey_in"] if spec.startswith("RSA") else ["-pubin"]
                tool = "rsa" if spec.startswith("RSA") else "pkey"
                openssl(tool, *form, "-in", "{key}", "-noout", key=answer["pubkey"])
        keyid = self.client.create("AES_GCM_256")
        work = self.client.call
        self.assertRefused(500, "Server exception.", work, "GetPublicKey", {"keyid": keyid})

    def test_encryption(self):
        oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]
        for spec, mode, most, options in [
            ("RSA_2048", "EH_RSA_PKCS1", 256 - 11, []),
            ("RSA_2048", "EH_RSA_PKCS1_OAEP", 256 - 66, oaep),
            ("RSA_3072", "EH_RSA_PKCS1_OAEP", 384 - 66, oaep),
            ("RSA_4096", "EH_RSA_PKCS1", 512 - 11, []),
            ("SM2", "EH_PAD_NONE", 255, []),
            ("SM2", "EH_RSA_PKCS1_PSS", 255, []),
        ]:
            keyid = self.client.create(spec)
            pem = self.client.call("GetPublicKey", {"keyid": keyid})["pubkey"]
            for length in [1, most]:
                message = bytes(range(1, 256)) * 3
                payload = {"keyid": keyid, "plaintext": b64(message[:length]), "padding_mode": mode}
                own = self.client.call("AsymmetricEncrypt", payload)["ciphertext"]
                command = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "{key}", "-in", "{data}"]
                theirs = openssl(*command, *options, key=spki(pem), data=message[:length])
                for ciphertext in [own, b64(theirs)]:
                    opened = {"keyid": keyid, "ciphertext": ciphertext, "padding_mode": mode}
                    plaintext = self.client.call("AsymmetricDecrypt", opened)["plaintext"]
                    self.assertEqual(b64(message[:length]), plaintext)
            longer = {**payload, "plaintext": b64(message[: most + 1])}
            work = self.client.call
            self.assertRefused(500, "Server exception.", work, "AsymmetricEncrypt", longer)
            bent = {**opened, "ciphertext": b64(theirs[:-1] + bytes([theirs[-1] ^ 1]))}
            self.assertRefused(500, "Server exception.", work, "AsymmetricDecrypt", bent)

    def test_encryption_refusals(self):
        work = self.client.call
        for spec, usage, mode in [
            ("RSA_2048", "ENCRYPT_DECRYPT", "EH_PAD_NONE"),
            ("RSA_2048", "ENCRYPT_DECRYPT", "EH_RSA_PKCS1_PSS"),
            ("RSA_2048", "SIGN_VERIFY", "EH_RSA_PKCS1"),
            ("SM2", "SIGN_VERIFY", "EH_PAD_NONE"),
            ("EC_P256", "ENCRYPT_DECRYPT", "EH_PAD_NONE"),
            ("AES_GCM_256", "ENCRYPT_DECRYPT", "EH_RSA_PKCS1"),
        ]:
            keyid = self.client.create(spec, usage)
            payload = {"keyid": keyid, "plaintext": "AAAA", "padding_mode": mode}
            self.assertRefused(500, "Server exception.", work, "AsymmetricEncrypt", payload)
        wrong = {**payload, "padding_mode": "PAD_RSA_PKCS1"}
        message = "Parameter invalid, The padding_mode type is incorrect."
        self.assertRefused(400, message, work, "AsymmetricEncrypt", wrong)

    def sign(self, keyid, digest, padding, kind, message):
        payload = {
            "keyid": keyid,
            "message": b64(message),
            "message_type": kind,
            "digest_mode": digest,
            "padding_mode": padding,
        }
        signature = self.client.call("Sign", payload)["signature"]
        verify = {**payload, "signature": signature}
        self.assertIs(True, self.client.call("Verify", verify)["result"])
        other = {**verify, "message": b64(bytes([message[0] ^ 1]) + message[1:])}
        self.assertIs(False, self.client.call("Verify", other)["result"])
        return verify, base64.b64decode(signature)

    def test_signatures(self):
        cases = [("RSA_2048", "EH_RSA_PKCS1"), ("RSA_3072", "EH_RSA_PKCS1_PSS")]
        for spec, padding in [*cases, *((spec, "EH_PAD_NONE") for spec in EC)]:
            keyid = self.client.create(spec, "SIGN_VERIFY")
            pem = spki(self.client.call("GetPublicKey", {"keyid": keyid})["pubkey"])
            pss = ["rsa_padding_mode:pss", "rsa_pss_saltlen:digest"]
            options = pss if padding.endswith("PSS") else []
            for name in ["224", "256", "384", "512"]:
                digest = openssl("dgst", f"-sha{name}", "-binary", "{data}", data=b"message")
                verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "{key}", "-in", "{data}"]
                for option in [*options, f"digest:sha{name}"]:
                    verify += ["-pkeyopt", option]
                for kind, message in [("EH_RAW", b"message"), ("EH_DIGEST", digest)]:
                    _, signature = self.sign(keyid, f"EH_SHA_{name}", padding, kind, message)
                    openssl(*verify, "-sigfile", "{sig}", key=pem, data=digest, sig=signature)

    def test_sm2_signatures(self):
        keyid = self.client.create("SM2", "SIGN_VERIFY")
        pem = self.client.call("GetPublicKey", {"keyid": keyid})["pubkey"]
        verify = ["pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pubin", "-inkey", "{key}"]
        verify += ["-pkeyopt", "distid:1234567812345678", "-in", "{data}", "-sigfile", "{sig}"]
        for kind in ["EH_RAW", "EH_DIGEST"]:
            for digest in ["EH_SM3", "EH_SHA_256"]:
                _, signature = self.sign(keyid, digest, "EH_RSA_PKCS1", kind, b"message")
                openssl(*verify, key=pem, data=b"message", sig=signature)

    def test_signature_refusals(self):
        keyid = self.client.create("RSA_2048", "SIGN_VERIFY")
        mode = "EH_RSA_PKCS1_PSS"
        verify, signature = self.sign(keyid, "EH_SHA_256", mode, "EH_RAW", b"message")
        work, failed = self.client.call, "Server exception."
        shorter = {**verify, "signature": b64(signature[:-1])}
        self.assertRefused(500, failed, work, "Verify", shorter)
        bent = {**verify, "signature": b64(signature[:-1] + bytes([signature[-1] ^ 1]))}
        self.assertIs(False, self.client.call("Verify", bent)["result"])
        for change in [
            {"padding_mode": "EH_PAD_NONE"},
            {"padding_mode": "EH_RSA_PKCS1_OAEP"},
            {"keyid": self.client.create("RSA_2048")},
            {"keyid": self.client.create("AES_GCM_128")},
            {"message_type": "EH_DIGEST"},
        ]:
            self.assertRefused(500, failed, work, "Sign", {**verify, **change})
            self.assertRefused(500, failed, work, "Verify", {**verify, **change})
        for name in ["padding_mode", "digest_mode", "message_type", "message"]:
            message = f"Missing required parameters, The {name} cannot be empty."
            self.assertRefused(400, message, work, "Sign", {**verify, name: ""})


class ImportTest(EhsmCase):
    def parameters(self, keyid, keyspec="EH_RSA_2048"):
        payload = {"keyid": keyid, "keyspec": keyspec}
        answer = self.client.call("GetParametersForImport", payload)
        self.assertEqual({"pubkey", "importToken"}, set(answer))
        return answer

    def material(self, keyid, answer, key, mode="EH_RSA_PKCS1_OAEP"):
        options = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]
        command = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "{key}", "-in", "{data}"]
        command += options if mode.endswith("OAEP") else []
        wrapped = openssl(*command, key=spki(answer["pubkey"]), data=key)
        return {
            "keyid": keyid,
            "key_material": b64(wrapped),
            "padding_mode": mode,
            "importToken": answer["importToken"],
        }

    def test_import(self):
        for spec, length in [("AES_GCM_128", 16), ("AES_GCM_256", 32), ("SM4_CBC", 16)]:
            for mode in ["EH_RSA_PKCS1_OAEP", "EH_RSA_PKCS1"]:
                keyid = self.client.create(spec, origin="EXTERNAL")
                answer = self.parameters(keyid)
                key = bytes(range(length))
                payload = self.material(keyid, answer, key, mode)
                done = self.client.call("ImportKeyMaterial", payload)
                self.assertEqual({"result": True}, done)
                data = {"keyid": keyid, "plaintext": b64(b"hello")}
                raw = base64.b64decode(self.client.call("Encrypt", data)["ciphertext"])
                if spec == "SM4_CBC":
                    command = ["enc", "-d", "-sm4-cbc", "-K", key.hex(), "-iv", raw[-16:].hex()]
                    plain = openssl(*command, "-in", "{data}", data=raw[:-16])
                    self.assertEqual(b"hello", plain)
                again = self.material(keyid, answer, bytes(length), mode)
                work = self.client.call
                self.assertRefused(500, "Import key failed.", work, "ImportKeyMaterial", again)
                keys = {"keyid": keyid, "keylen": 16}
                self.assertRefused(500, "Server exception.", work, "GenerateDataKey", keys)

    def test_tokens_are_checked(self):
        first = self.client.create("AES_GCM_256", origin="EXTERNAL")
        second = self.client.create("AES_GCM_256", origin="EXTERNAL")
        old, other = self.parameters(first), self.parameters(second)
        answer = self.parameters(first, "EH_RSA_3072")
        good = self.material(first, answer, bytes(32))
        token = json.loads(base64.b64decode(answer["importToken"]))
        self.assertEqual(first, token["keyid"])
        forged = [
            {**token, "timestamp": token["timestamp"] + 1},
            {**token, "keyid": second},
            {**token, "hmac": b64(bytes(32))},
            {**token, "hmac": ""},
        ]
        tokens = [b64(json.dumps(each).encode()) for each in forged]
        work = self.client.call
        for text in [*tokens, old["importToken"], other["importToken"]]:
            payload = {**good, "importToken": text}
            self.assertRefused(500, "ImportToken failed.", work, "ImportKeyMaterial", payload)
        for text in [None, "", "x", b64(b"{}"), b64(b"null"), b64(b'{"keyid":1}')]:
            payload = {**good, "importToken": text}
            self.assertRefused(
                500, "ImportKeyMaterial failed.", work, "ImportKeyMaterial", payload
            )
        wrapped_before = self.material(first, old, bytes(32))["key_material"]
        wrong = {**good, "key_material": wrapped_before}
        self.assertRefused(500, "Import key failed.", work, "ImportKeyMaterial", wrong)
        for length in [16, 24, 31, 33]:
            payload = self.material(first, answer, bytes(length))
            self.assertRefused(500, "Import key failed.", work, "ImportKeyMaterial", payload)
        self.assertEqual({"result": True}, self.client.call("ImportKeyMaterial", good))

    def test_refusals(self):
        failed, work = "GetParametersForImport failed.", self.client.call
        internal = {"keyid": self.client.create("AES_GCM_256"), "keyspec": "EH_RSA_2048"}
        self.assertRefused(500, failed, work, "GetParametersForImport", internal)
        rsa = {**internal, "keyid": self.client.create("RSA_2048", origin="EXTERNAL")}
        self.assertRefused(500, failed, work, "GetParametersForImport", rsa)
        wrong = {**internal, "keyspec": "EH_SM2"}
        message = "Parameter invalid, The keyspec type is incorrect."
        self.assertRefused(400, message, work, "GetParametersForImport", wrong)


def spki(pem):
    """A public key as OpenSSL's tools take it."""
    if "RSA PUBLIC KEY" not in pem:
        return pem
    return openssl("rsa", "-RSAPublicKey_in", "-in", "{key}", "-pubout", key=pem)


if __name__ == "__main__":
    unittest.main()
