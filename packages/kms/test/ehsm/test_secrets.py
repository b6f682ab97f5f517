import unittest

from ehsm_client import b64
from support import EhsmCase

DAY = 24 * 60 * 60 * 1000
NOBODY = "00000000-0000-4000-8000-000000000000"


class SecretTest(EhsmCase):
    def message(self, action, payload, message):
        envelope = self.client.envelope(action, payload)
        self.assertEqual((200, message), (envelope["code"], envelope["message"]))
        return envelope["result"]

    def create(self, name="s1", data="p%40ss w+rd\t% naïve & name=1", **more):
        payload = {"secretName": name, "secretData": data, **more}
        self.assertEqual({}, self.message("CreateSecret", payload, f"The {name} create success."))

    def value(self, name="s1", **more):
        return self.client.call("GetSecretValue", {"secretName": name, **more})

    def test_round_trip(self):
        for name in ["s1", "naïve & name=1", "a/b", "x" * 64, " ", "__proto__"]:
            for data in ["p%40ss w+rd\t%", "x" * 4096, "naïve", "\x00"]:
                payload = {"secretName": name, "secretData": data}
                if data == "p%40ss w+rd\t%":
                    self.create(name, data)
                else:
                    done = f"The {name} new version put success."
                    self.message("PutSecretValue", payload, done)
                got = self.value(name)
                members = {"secretName", "secretData", "versionId", "createTime"}
                self.assertEqual(members, set(got))
                self.assertEqual((name, data), (got["secretName"], got["secretData"]))
            self.assertEqual("p%40ss w+rd\t%", self.value(name, versionId=1)["secretData"])
            self.assertEqual({}, self.value(name, versionId=5))
            listed = self.message(
                "ListSecretVersionIds", {"secretName": name}, "List secret versionIds success."
            )
            self.assertEqual((name, 4), (listed["secretName"], listed["totalCount"]))
            self.assertEqual([1, 2, 3, 4], [each["versionId"] for each in listed["versionIds"]])
        self.assertEqual([], self.client.call("ListKey")["list"])

    def test_names_are_unique(self):
        self.create()
        taken = "Secret name already exists, cannot use the same secret name"
        payload = {"secretName": "s1", "secretData": "x"}
        work = self.client.call
        self.assertRefused(400, taken, work, "CreateSecret", payload)
        self.client.call("DeleteSecret", {"secretName": "s1"})
        self.assertRefused(400, taken, work, "CreateSecret", payload)
        self.client.call("DeleteSecret", {"secretName": "s1", "forceDelete": "true"})
        self.create()
        self.assertEqual(1, self.value()["versionId"])
        other = self.connect()
        other.enroll()
        missing = "Can't find the s1's value."
        self.assertRefused(400, missing, other.call, "GetSecretValue", {"secretName": "s1"})
        self.assertEqual(0, other.call("ListSecrets")["totalCount"])
        for action in ["DeleteSecret", "RestoreSecret", "PutSecretValue", "UpdateSecretDesc"]:
            envelope = other.envelope(action, payload)
            self.assertEqual(400, envelope["code"])
        other.call("CreateSecret", payload)
        self.assertEqual("p%40ss w+rd\t% naïve & name=1", self.value()["secretData"])

    def test_keys(self):
        work, payload = self.client.call, {"secretName": "s1", "secretData": "x"}
        other = self.connect()
        other.enroll()
        missing = "Cannot find cmk by keyid."
        for keyid in [
            NOBODY,
            other.create("AES_GCM_256"),
            self.client.create("RSA_2048"),
            self.client.create("AES_GCM_256", origin="EXTERNAL"),
        ]:
            wanted = {**payload, "encryptionKeyId": keyid}
            self.assertRefused(400, missing, work, "CreateSecret", wanted)
        wrong = "Parameter invalid, The encryptionKeyId length error."
        self.assertRefused(400, wrong, work, "CreateSecret", {**payload, "encryptionKeyId": "x"})
        for spec in ["AES_GCM_128", "SM4_CBC"]:
            keyid = self.client.create(spec)
            self.create(spec, "under a key", encryptionKeyId=keyid)
            self.assertEqual("under a key", self.value(spec)["secretData"])
            self.client.call("DisableKey", {"keyid": keyid})
            disabled = "keyid is disabled"
            self.assertRefused(400, disabled, work, "GetSecretValue", {"secretName": spec})
            self.client.call("EnableKey", {"keyid": keyid})
            self.assertEqual("under a key", self.value(spec)["secretData"])
        self.create("default")
        self.client.call("DeleteAllKey")
        self.value("default")
        self.assertRefused(400, "keyid error", work, "GetSecretValue", {"secretName": "SM4_CBC"})

    def test_describe(self):
        self.create(description="what it is", rotationInterval="30d")
        self.create("bare")
        describe, done = "DescribeSecret", "Describe secrets success."
        told = self.message(describe, {"secretName": "s1"}, done)
        self.assertEqual("what it is", told["description"])
        self.assertEqual(("30d", ""), (told["rotationInterval"], told["lastRotationDate"]))
        self.assertEqual(30 * DAY, told["nextRotationDate"] - told["createTime"])
        bare = self.message(describe, {"secretName": "bare"}, done)
        self.assertEqual({"secretName", "createTime"}, set(bare))
        self.assertEqual({}, self.message(describe, {"secretName": "none"}, done))
        updated = {"secretName": "s1", "description": "another"}
        self.message("UpdateSecretDesc", updated, "Update secret description success.")
        self.assertEqual("another", self.client.call(describe, {"secretName": "s1"})["description"])
        missing = {"secretName": "none", "description": "x"}
        work = self.client.call
        self.assertRefused(400, "Cannot find secretName", work, "UpdateSecretDesc", missing)
        listed = self.message("ListSecrets", None, "List secrets success.")
        self.assertEqual(2, listed["totalCount"])
        self.assertEqual(["s1", "bare"], [each["secretName"] for each in listed["secretList"]])
        listed = self.client.call("ListSecrets", {"secretName": "bare"})
        self.assertEqual((1, "bare"), (listed["totalCount"], listed["secretList"][0]["secretName"]))
        self.assertEqual(0, self.client.call("ListSecrets", {"secretName": "ba"})["totalCount"])

    def test_rotation_intervals(self):
        payload = {"secretName": "r", "secretData": "x"}
        work = self.client.call
        out = "The rotation time is less than 6 hours or more than 8760 hours"
        for interval in ["5h", "359m", "9999s", "8761h", "366d", "0d"]:
            wanted = {**payload, "rotationInterval": interval}
            self.assertRefused(400, out, work, "CreateSecret", wanted)
        wrong = "Parameter invalid, The rotationInterval format wrong."
        for interval in ["d", "30", "30y", "1.5d", "-1d", " 1d"]:
            wanted = {**payload, "rotationInterval": interval}
            message = wrong if len(interval) > 1 else wrong.replace("format wrong", "length error")
            self.assertRefused(400, message, work, "CreateSecret", wanted)
        for number, interval in enumerate(["6h", "360m", "8760h", "365d", "0365d"]):
            self.create(f"r{number}", rotationInterval=interval)

    def test_delete_and_restore(self):
        self.create()
        after = "The s1 will be deleted after 30 days."
        self.assertEqual({}, self.message("DeleteSecret", {"secretName": "s1"}, after))
        work, name = self.client.call, {"secretName": "s1"}
        value = {**name, "secretData": "x"}
        missing = "Can't find the s1's value."
        self.assertRefused(400, missing, work, "GetSecretValue", name)
        gone = "Can not put value for a deleted secret."
        self.assertRefused(400, gone, work, "PutSecretValue", value)
        fixed = "Can not modify a deleted secret."
        self.assertRefused(400, fixed, work, "UpdateSecretDesc", {**name, "description": "x"})
        self.assertEqual(0, self.client.call("ListSecretVersionIds", name)["totalCount"])
        planned = self.client.call("ListSecrets")["secretList"][0]["plannedDeleteTime"]
        told = self.client.call("DescribeSecret", name)
        self.assertEqual(planned, told["plannedDeleteTime"])
        self.assertTrue(29 * DAY < planned - told["createTime"] < 31 * DAY)
        again = "Delete error, Can not find the secretName"
        self.assertRefused(400, again, work, "DeleteSecret", name)
        self.assertEqual({}, self.message("RestoreSecret", name, "The s1 restore success."))
        self.value()
        self.message("DeleteSecret", {**name, "recoveryPeriod": 7, "forceDelete": "false"},
                     "The s1 will be deleted after 7 days.")
        self.message("DeleteSecret", {**name, "forceDelete": "true"}, "The s1 delete success")
        self.assertRefused(400, again, work, "DeleteSecret", {**name, "forceDelete": "true"})
        none = "Can not restore secret, the secretName not find."
        self.assertRefused(400, none, work, "RestoreSecret", name)
        self.assertRefused(400, "Can not find secretName", work, "PutSecretValue", value)
        self.create()
        for force in [True, "yes", "TRUE", 1]:
            wrong = "The forceDelete must be true or false"
            wanted = {**name, "forceDelete": force}
            self.assertRefused(400, wrong, work, "DeleteSecret", wanted)
        say = "Parameter invalid, The recoveryPeriod "
        for period, message in [
            (366, say + "value must be less than or equal to 365."),
            (0, say + "value must be greater than or equal to 1."),
            ("7", say + "must be of integer type."),
        ]:
            wanted = {**name, "recoveryPeriod": period}
            self.assertRefused(400, message, work, "DeleteSecret", wanted)

    def test_fields(self):
        work = self.client.call
        for name, longest in [("secretName", 64), ("secretData", 4096)]:
            good = {"secretName": "f", "secretData": "x"}
            for value, message in [
                ("", f"Missing required parameters, The {name} cannot be empty."),
                (None, f"Missing required parameters, The {name} cannot be empty."),
                (7, f"Parameter invalid, The {name} must be of string type."),
                ("x" * (longest + 1), f"Parameter invalid, The {name} length error."),
            ]:
                self.assertRefused(400, message, work, "CreateSecret", {**good, name: value})
        for action in ["DescribeSecret", "GetSecretValue", "DeleteSecret", "RestoreSecret"]:
            message = "Missing required parameters, The secretName cannot be empty."
            self.assertRefused(400, message, work, action)
        wrong = "Parameter invalid, The versionId value must be greater than or equal to 1."
        payload = {"secretName": "f", "versionId": 0}
        self.assertRefused(400, wrong, work, "GetSecretValue", payload)


if __name__ == "__main__":
    unittest.main()
