"""Every verb, against a real key service."""

import hashlib
import os
import threading
import unittest

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from cloister import KmsConnectionError, KmsError, decrypt_message, encrypt_message, key_of

from .world import WORLD, owner, through_relay


class KeysTest(unittest.TestCase):
    def setUp(self) -> None:
        self.kms = owner()
        self.addCleanup(self.kms.close)

    def refused(self, code: str, call, *arguments, **named) -> KmsError:
        with self.assertRaises(KmsError) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.code, code)
        return caught.exception

    def test_a_key_has_a_life(self) -> None:
        name = f"life {os.urandom(4).hex()}"
        key = self.kms.create_key(mode="open", alias=name, tags={"team": "a"}, description="x")
        self.assertEqual((key.mode, key.state, key.current_version), ("open", "enabled", 1))
        self.assertEqual(self.kms.describe_key(f"alias/{name}"), key)
        self.assertIn(key, self.kms.list_keys())
        self.assertEqual(self.kms.tag_key(key.key_id, {"cost": "1"}).tags, {"team": "a", "cost": "1"})
        self.assertEqual(self.kms.untag_key(key.key_id, ["team"]).tags, {"cost": "1"})
        self.assertEqual(self.kms.update_key_description(key.key_id, "y").description, "y")
        self.assertEqual(self.kms.rotate_key(key.key_id).current_version, 2)
        rotation = self.kms.enable_key_rotation(key.key_id, 90).rotation
        self.assertIsNotNone(rotation)
        self.assertIsNone(self.kms.disable_key_rotation(key.key_id).rotation)
        self.assertEqual(self.kms.disable_key(key.key_id).state, "disabled")
        self.refused("KEY_DISABLED", self.kms.encrypt, key.key_id, b"x")
        self.kms.enable_key(key.key_id)
        planned = self.kms.schedule_key_deletion(key.key_id, 7)
        self.assertEqual(planned.state, "pending-deletion")
        self.assertIsNotNone(planned.deletion_at)
        self.refused("KEY_STATE", self.kms.encrypt, key.key_id, b"x")
        self.assertEqual(self.kms.cancel_key_deletion(key.key_id).state, "disabled")

    def test_aliases_name_keys(self) -> None:
        one, two = self.kms.create_key(mode="open"), self.kms.create_key(mode="open")
        name = f"a/b c {os.urandom(4).hex()}"
        self.kms.create_alias(name, one.key_id)
        self.refused("ALIAS_TAKEN", self.kms.create_alias, name, two.key_id)
        self.assertEqual(self.kms.encrypt(f"alias/{name}", b"x").key_id, one.key_id)
        self.kms.update_alias(name, two.key_id)
        self.assertEqual(self.kms.encrypt(f"alias/{name}", b"x").key_id, two.key_id)
        self.assertIn(name, [alias.alias for alias in self.kms.list_aliases()])
        self.kms.delete_alias(name)
        self.refused("NOT_FOUND", self.kms.describe_key, f"alias/{name}")

    def test_encrypts_in_a_context(self) -> None:
        key = self.kms.create_key(mode="open")
        context = {"table": "people", "ключ": "значение"}
        made = self.kms.encrypt(key.key_id, b"secret", context=context)
        self.assertEqual(key_of(made.ciphertext), (key.key_id, 1))
        self.assertEqual(self.kms.decrypt(made.ciphertext, context=context), b"secret")
        self.refused("CIPHERTEXT_INVALID", self.kms.decrypt, made.ciphertext)
        self.kms.rotate_key(key.key_id)
        again = self.kms.re_encrypt(key.key_id, made.ciphertext, context=context)
        self.assertEqual(again.key_version, 2)
        self.assertEqual(self.kms.decrypt(again.ciphertext, context=context), b"secret")

    def test_data_keys_and_messages(self) -> None:
        key = self.kms.create_key(mode="open")
        made = self.kms.generate_data_key(key.key_id, length=16, context={"a": "b"})
        self.assertEqual(len(made.plaintext), 16)
        self.assertNotIn(repr(made.plaintext), repr(made))
        self.assertEqual(self.kms.decrypt(made.ciphertext, context={"a": "b"}), made.plaintext)
        hidden = self.kms.generate_data_key_without_plaintext(key.key_id)
        self.assertFalse(hasattr(hidden, "plaintext"))
        data = os.urandom(1 << 20)
        message = encrypt_message(self.kms, key.key_id, data, {"a": "b"})
        self.assertEqual(decrypt_message(self.kms, message, {"a": "b"}, key=key.key_id), data)
        with self.assertRaises(KmsError):
            decrypt_message(self.kms, message)
        for at in (0, 4, 6, 60, len(message) - 1):
            altered = bytearray(message)
            altered[at] ^= 1
            with self.assertRaises((ValueError, KmsError)):
                decrypt_message(self.kms, bytes(altered), {"a": "b"})
        for end in (0, 4, 60, 120, len(message) - 1):
            with self.assertRaises((ValueError, KmsError)):
                decrypt_message(self.kms, message[:end], {"a": "b"})

    def test_reads_what_the_other_client_wrote(self) -> None:
        # Made by the TypeScript client, under the same account.
        message = bytes.fromhex(WORLD["messageHex"])
        self.assertEqual(decrypt_message(self.kms, message, {"from": "ts"}), b"hello from the other")

    def test_signs(self) -> None:
        key = self.kms.create_key(mode="open", key_spec="ECC_NIST_P256")
        self.assertEqual(key.algorithms, ("ECDSA_SHA_256",))
        signature = self.kms.sign(key.key_id, b"message", "ECDSA_SHA_256")
        public = load_pem_public_key(self.kms.get_public_key(key.key_id).pem.encode())
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, b"message", ec.ECDSA(SHA256()))
        digest = hashlib.sha256(b"message").digest()
        self.assertTrue(
            self.kms.verify(key.key_id, digest, signature, "ECDSA_SHA_256", is_digest=True)
        )
        self.assertFalse(self.kms.verify(key.key_id, b"other", signature, "ECDSA_SHA_256"))
        self.refused("KEY_USAGE", self.kms.rotate_key, key.key_id)

    def test_brings_its_own_keys(self) -> None:
        key = self.kms.create_key(mode="open", origin="external")
        self.assertEqual(key.state, "pending-import")
        self.refused("IMPORT_TOKEN", self.kms.import_key_material, key.key_id, "AAAA", b"x" * 256)
        self.assertEqual(self.kms.import_key(key.key_id, os.urandom(32)).state, "enabled")
        self.refused("KEY_STATE", self.kms.import_key, key.key_id, os.urandom(32))
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        external = self.kms.create_key(
            mode="open", origin="external", key_spec="RSA_2048", key_usage="SIGN_VERIFY"
        )
        pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.kms.import_key(external.key_id, pkcs8)
        signature = self.kms.sign(external.key_id, b"m", "RSASSA_PKCS1_V1_5_SHA_256")
        private.public_key().verify(signature, b"m", padding.PKCS1v15(), SHA256())

    def test_attested_only_keys_give_nothing(self) -> None:
        key = self.kms.create_key()
        self.assertEqual(key.mode, "attested-only")
        for call in (self.kms.generate_data_key, self.kms.generate_data_key_without_plaintext):
            self.refused("KEY_ATTESTED_ONLY", call, key.key_id)
        self.refused("KEY_ATTESTED_ONLY", self.kms.encrypt, key.key_id, b"x")

    def test_threads_share_a_client(self) -> None:
        key = self.kms.create_key(mode="open")
        failed = []

        def work(number: int) -> None:
            try:
                for round in range(10):
                    text = f"{number} {round}".encode()
                    if self.kms.decrypt(self.kms.encrypt(key.key_id, text).ciphertext) != text:
                        failed.append(number)
            except Exception as error:  # told below, by whoever waits
                failed.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])


class BrokenConnectionTest(unittest.TestCase):
    def test_uses_are_sent_again(self) -> None:
        with owner() as kms, through_relay() as broken:
            key = kms.create_key(mode="open")
            for round in range(6):
                plaintext = os.urandom(4000)
                made = broken.encrypt(key.key_id, plaintext)
                self.assertEqual(kms.decrypt(made.ciphertext), plaintext)
                # The next request is over a connection of its own again.
                broken.close()

    def test_changes_are_not(self) -> None:
        with through_relay() as broken, owner() as kms:
            before = len(kms.list_keys())
            codes = []
            for round in range(4):
                try:
                    # Long enough to be broken in the middle.
                    broken.create_key(mode="open", tags={f"t{n}": "x" * 250 for n in range(20)})
                    codes.append("done")
                except KmsConnectionError as error:
                    codes.append(error.code)
                broken.close()
            self.assertIn("UNREACHABLE", codes)
            self.assertIn("done", codes)
            self.assertEqual(len(kms.list_keys()) - before, codes.count("done"))


if __name__ == "__main__":
    unittest.main()
