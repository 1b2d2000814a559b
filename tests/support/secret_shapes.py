"""Secrets in every shape in which people, programs and formats write them, in any text and in the files of a node."""

from __future__ import annotations

import base64

ENCODED_KEY = base64.b64encode(b"-----BEGIN RSA PRIVATE KEY-----" + b"x" * 30).decode()
# What is secret stands between « and »; it may be any text, an ordinary word too. "ok" stays.
TEXTS = {
    "one word": "password: «hunter»",
    "a second word": "password: «correct horse battery»\nname: ok",
    "a second word of a variable": "DB_PASSWORD=«correct horse»\nname=ok",
    "a second word in quotes": 'x: "DB_PASSWORD=«correct horse»" ok',
    "words before the next variable": "password=«correct horse» user=ok --v=2",
    "a second word in a log": 'level=ok msg="cannot log in" password="«correct horse»" user=ok',
    "a second word in an argument": "--etcd-password='«correct horse»' --v=2 ok",
    "one quoted after another": "DB_PASSWORD=«a\"b c\"'d e'»\nname=ok",
    "a flow list": 'password: «["hunter", "horse"]»\nname: ok',
    "a flow list over lines": "password: «[hunter,\n  horse]»\nname: ok",
    "a flow mapping": "password: «{value: hunter, other: [horse]}»\nname: ok",
    "brackets in quotes": 'password: «["]", "horse"]»\nname: ok',
    "a block list": "password:\n  «- hunter\n  - horse»\nname: ok",
    "a block list that is not indented": "password:\n«- hunter\n- horse»\nname: ok",
    "a block list in a list": "users:\n- password:\n  «- hunter\n  - horse»\n  name: ok",
    "a nested block": "tokens:\n  «a:\n    - hunter\n  b: horse»\nname: ok",
    "a literal block": "x:\n  password: «|\n    hunter\n    horse»\n  name: ok",
    "a folded block": "password: «>-\n  hunter\n\n  horse»\nname: ok",
    "a block with an indent": "password: «|2+\n   hunter\n  horse»\nname: ok",
    "folded text": "password: «hunter\n  horse\n  battery»\nname: ok",
    "folded text in quotes": 'password: "«hunter\n  horse»"\nname: ok',
    "a tag and an anchor": "password: !!str &a «hunter»\nname: ok",
    "an escaped quote": r'{"password": "«hun\"ter horse»", "name": "ok"}',
    "an escaped backslash": r'{"password": "«hunter\\»", "name": "ok"}',
    "two quotes that are one": "password: '«it''s horse»'\nname: ok",
    "an escaped quote in Python": r"{'password': '«it\'s horse»', 'name': 'ok'}",
    "JSON in JSON": r'{"said": "{\"password\": \"«hunter horse»\", \"name\": \"ok\"}"}',
    "an escaped quote in JSON in JSON": r'{"said": "{\"password\": \"«hun\\\"ter horse»\", \"name\": \"ok\"}"}',
    "JSON in JSON in JSON": r'"\"{\\\"password\\\": \\\"«hunter horse»\\\", \\\"name\\\": \\\"ok\\\"}\""',
    "JSON without blanks": '{"client_secret":"«hunter»","expires":1,"scope":"ok"}',
    "a number in JSON": '{"password": «4711», "port": 8080, "name": "ok"}',
    "a list in JSON": '{"tokens": «["hunter", {"a": "horse"}]», "name": "ok"}',
    "HTML": "<b>password</b> &quot;password&quot;: &quot;«hunter horse»&quot;, ok",
    "cells of HTML": "<tr><th>DB_PASSWORD</th>\n<td>«hunter horse»</td><td>ok</td></tr>",
    "an element": "<password>«hunter horse»</password><name>ok</name>",
    "cells of Markdown": "| `db_password` | «hunter» | ok |",
    "a name and a value beside it": "env:\n- name: DB_PASSWORD\n  value: «hunter horse»\n- name: ok",
    "the same in JSON": '{"name": "DB_PASSWORD", "value": "«hunter»"}, {"name": "ok"}',
    "a removed line": "@@ -1,2 +1,2 @@\n-password: «hunter horse»\n-other: ok\n+name: ok",
    "a removed variable": "@@ -1,2 +1 @@\n-DB_PASSWORD=«hunter horse»\n name=ok",
    "a changed list": "@@ -1,4 +1,4 @@\n x:\n   password:\n-«  - hunter\n+  - horse»\n   name: ok",
    "a changed block": "@@ -1,4 +1,4 @@\n password: «|\n-  hunter\n+  horse»\n name: ok",
    "a flag": "kubelet --bootstrap-token «hunter» --v=2 ok",
    "a flag in quotes": 'run --password "«hunter horse»" ok',
    "a flag with one dash": "run -password=«hunter» ok",
    "a flag in a list": "command: ['run', '--password', '«hunter horse»', 'ok']",
    "a flag in a block list": "- --db-password\n- «hunter»\n- ok",
    "a flag in a JSON list": '["--token", "«hunter»", "ok"]',
    "a user and a password": "curl --user ok:«hunter» https://web/ok".replace("ok:«", "«ok:"),
    "a URL": "proxy: http://ops:«hunter»@proxy.example:3128 ok",
    "a URL with an at sign": "proxy: http://ops:«hun@ter»@proxy.example ok",
    "a query": "GET /x?token=«hunter»&name=ok HTTP/1.1",
    "a signed URL": "https://web/ok?sig=«hunter%2Bhorse»&name=ok",
    "a header": "curl -H 'Authorization: «Bearer hunter»' ok",
    "a header with another scheme": "Authorization: «Digest username=ops, response=hunter»\nname: ok",
    "a header that Go shows": "map[Authorization:«[Bearer hunter]» Name:[ok]]",
    "headers as a list": "Authorization:\n«- Basic hunter»\nName:\n- ok",
    "a cookie": "Set-Cookie: «id=hunter; Path=/horse»\nName: ok",
    "a key of an API": "X-Api-Key: «hunter horse»\nName: ok",
    "a registry's login": '{"auths": {"ok": {"auth": "«aHVudGVyOmhvcnNl»"}}}',
    "a unit's variables": "[Service]\nEnvironment=A=«hunter» B=«horse»\nUser=ok",
    "variables over lines": "[Service]\nEnvironment=A=«hunter» \\\n  B=«horse»\nUser=ok",
    "words over lines": '[Service]\nEnvironment="NOTE=«hunter \\\n  horse»"\nUser=ok',
    "a private key": "x: «-----BEGIN OPENSSH PRIVATE KEY-----\nhunter\n-----END OPENSSH PRIVATE KEY-----»\nok",
    "a private key that is cut off": "«-----BEGIN EC PRIVATE KEY-----\nhunter\nhorse»",
    "a private key on one line": r'"«-----BEGIN PRIVATE KEY-----\nhunter\n-----END PRIVATE KEY-----»", "ok"',
    "a private key of PGP": "«-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter\n-----END PGP PRIVATE KEY BLOCK-----» ok",
    "a private key in base64": f"data: «{ENCODED_KEY}» ok",
    "a token of a service account": "said «eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl» ok",
    "a token of GitHub": "said «ghp_0123456789abcdefghijABCDEFGHIJ» ok",
    "what crypt makes of a password": "root:«$6$saltsalt$hunterhorsehunter»:19000 ok",
    "a Secret": "kind: Secret\ndata:\n  a: «aHVudGVy»\n  b: «aG9yc2U=»\nmetadata: {name: ok}",
    "a Secret in a diff": "@@ -1,3 +1,3 @@\n kind: Secret\n data:\n-  a: «aHVudGVy»\n+  a: «aG9yc2U=»\n type: ok",
    "a Secret in Python": "{'kind': 'Secret', 'stringData': {'a': '«hunter horse»', 'b': '«horse»'}, 'type': 'ok'}",
    "a Secret with a block": "kind: Secret\nstringData:\n  a: «|\n    hunter\n    horse»\ntype: ok",
    "a key of a registry": "[registry]\naccess_key = «hunter»\nname = ok",
    "Ruby": ":password => '«hunter horse»', :name => 'ok'",
    "Go": 'password := "«hunter horse»"\nname := "ok"',
    "three quotes": 'password = """«hunter\nhorse»"""\nname = ok',
    "an element with attributes": '<db:password type="a">«hunter horse»</db:password><name>ok</name>',
    "character data": "<password><![CDATA[«hunter horse]]>»</password><name>ok</name>",
    "SQL": "CREATE USER ok IDENTIFIED BY '«hunter horse»'; SELECT ok",
    "SQL of another": "ALTER USER ok WITH PASSWORD '«hunter»'; SELECT ok",
    "a call": "define('DB_PASSWORD', '«hunter horse»'); ok",
    "a pair": "('password', '«hunter»'), ('name', 'ok')",
    "netrc": "machine web login ok password «hunter»\nmachine ok",
    "sshpass": "sshpass -p «hunter» ssh ok",
    "mysql": "mysql -u ok -p«hunter» ok",
    "properties": "password\\:«hunter»\nname=ok",
    "a header without a scheme": "Authorization: «hunter2horse»\nName: ok",
    "a token for a user": "git clone https://«hunter2horse7»@web/ok",
    "a key of kubeadm": "kubeadm join --certificate-key «hunter» --v=2 ok",
    "a Secret without its kind": "stringData:\n  a: «hunter»\n  b: «horse»\ntype: ok",
    "a webhook": "https://hooks.slack.com/«services/T0/B0/hunterhorse» ok",
    "a key of AWS": "said «AKIAIOSFODNN7EXAMPLE» ok",
    "pgpass": "web.example:5432:ok:app:«hunter:horse»\n*:*:*:app:«battery»\nok".replace(
        "hunter:horse", "hunter\\:horse"
    ),
    "a PIN": "pin: «4711»\nname: ok",
    "a PIN of a flag": "unlock --user-pin=«471147» ok",
    "a PIN of a variable": "export CARD_PIN=«hunter»\nname=ok",
    "a name in brackets": 'config["db_password"] = "«hunter horse»"; ok',
}

# What is secret stands between « and »; it may be an ordinary word. All else must stay.
UNITS = {
    "a variable": "Environment=NOTE=«hunter»",
    "two variables": "Environment=NOTE=«hunter» PIN=«4711»",
    "a variable in quotes": 'Environment="NOTE=«correct horse»" A=«b»',
    "a value in quotes": "Environment=NOTE='«correct horse»'",
    "variables over lines": "Environment=NOTE=«hunter» \\\n  PIN=«4711» \\\n  KEY=«abc»",
    "a value over lines": 'Environment="NOTE=«correct \\\n  horse»"',
    "a comment between lines": "Environment=NOTE=«hunter» \\\n# «the pin is swordfish»\n  PIN=«4711»",
    "flags in a variable": 'Environment="ARGS=--max-pods=60 --made-up=«hunter» --v=2"',
    "a comment": "# «the password is swordfish»",
    "a comment with another sign": ";«swordfish»",
    "a directive": "X-Note=«hunter»",
    "a directive over lines": "X-Note=«hunter \\\n  horse»",
    "a credential": "SetCredential=«token:hunter»",
    "a flag": "ExecStart=/k --made-up=«hunter» --max-pods=60",
    "a flag and its value": "ExecStart=/k --made-up «hunter» --max-pods=60",
    "a flag in quotes": "ExecStart=/k '--made-up=«correct horse»' --max-pods=60",
    "a quoted value of a flag": 'ExecStart=/k --made-up="«correct horse»" --max-pods=60',
    "a second word": "ExecStart=/k --storage-driver-password=«correct» «horse» --max-pods=60",
    "a header": "ExecStart=/k --manifest-url-header=«Authorization:hunter» --v=2",
    "a URL": "ExecStart=/k --kubeconfig=«http://ops:hunter@web/k» --v=2",
    "flags over lines": "ExecStart=/k \\\n  --made-up=«hunter» \\\n  --max-pods=60",
    "a comment between flags": "ExecStart=/k \\\n# --token=«swordfish».\n  --max-pods=60".replace(
        "--token=«swordfish».", "«--token=swordfish»"
    ),
    "a shell": "ExecStart=/bin/sh -c 'exec /k --made-up=«hunter» --max-pods=60'",
    "another command": "ExecStartPre=/usr/bin/curl -H «hunter» --data=«horse»",
    "a variable for one command": "ExecStartPre=/usr/bin/env NOTE=«hunter» /k",
}
CONFIGS = {
    "a list": "staticPodURLHeader:\n  Authorization:\n  - «hunter»\n  - «Bearer horse»\nmaxPods: 60",
    "a flow list": 'staticPodURLHeader: {Authorization: ["«hunter»", «horse»]}\nmaxPods: 60',
    "a number": "staticPodURLHeader:\n  X-Pin:\n  - «4711»\nmaxPods: 60",
    "a literal block": "made: «|\n  hunter\n  horse»\nmaxPods: 60",
    "a folded block": "made: «>-\n  correct\n  horse»\nmaxPods: 60",
    "folded text": "made: «correct\n  horse»\nmaxPods: 60",
    "quotes": "made: \"«hun\\\"ter»\"\nother: '«it''s»'\nmaxPods: 60",
    "a nested field": "made:\n  up:\n  - deep: «hunter»\nmaxPods: 60",
    "a comment": "# «the password is swordfish»\nmaxPods: 60",
    "a comment behind a value": "maxPods: 60 # «swordfish»\nport: 10250",
    "comments that are settings": "# maxPods: 60\n# port: 10250\nclusterDomain: a.example",
    "comments that are settings and more": "# «maxPods: 60»\n# «pin: swordfish»\nport: 10250",
    "JSON": '{"staticPodURLHeader": {"A": ["«hunter»"]}, "maxPods": 60}',
    "a URL": "staticPodURL: «http://web/pods»\nmaxPods: 60",
    "text that is not ASCII": "made: «grüße»\nclusterDomain: ü.example\nother: «straße»",
}
FILES = {
    "a value": "NOTE=«hunter»\nARGS=--max-pods=60",
    "a number and a short word": "PIN=«4711»\nKEY=«abc»",
    "a value that goes on": "NOTE=«correct \\\nhorse»\nARGS=--max-pods=60",
    "a quoted value over lines": 'NOTE="«correct\nhorse»"\nARGS=--max-pods=60',
    "two quoted parts": "NOTE=«'correct' \"horse\"»\nARGS=--v=2",
    "a comment": "# «the password is swordfish»\nARGS=--v=2",
    "a comment that goes on": "# «swordfish \\»\n«horse»\nARGS=--v=2",
    "an open quote": "ARGS=--v=2\nNOTE=«'hunter\nhorse»",
    "what is not an assignment": "«hunter»\nARGS=--v=2\n«swordfish horse»",
    "flags": 'ARGS="--max-pods=60 --made-up=«hunter» --token «horse»"',
    "blanks": "  NOTE = «hunter»  \nARGS=--v=2",
}
UNIT = "[Unit]\nDescription=Kubelet\n[Service]\n"
SHAPES = {
    **{
        f"unit: {name}": f"[Unit]\nDescription=Kubelet\n[Service]\n{text}\nRestart=always\n"
        for name, text in UNITS.items()
    },
    **{
        f"config: {name}": f"kind: KubeletConfiguration\n{text}\n"
        for name, text in CONFIGS.items()
        if name != "JSON"
    },
    "config: JSON": CONFIGS["JSON"],
    **{f"variables: {name}": f"{text}\n" for name, text in FILES.items()},
}


def secrets_and_rest(text: str) -> tuple[list[str], str, str]:
    """What stands between the marks, the text without the marks, and what must be left of it."""
    parts = text.replace("»", "«").split("«")
    return parts[1::2], "".join(parts), "«»".join(parts[::2])
