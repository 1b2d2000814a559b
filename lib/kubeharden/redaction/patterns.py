"""Patterns that find secrets in text: by form, by the name before them, or by the kind of object around them.

Each takes time in proportion to the text: a name is looked for from the start of a word on, and no two repetitions that
follow each other share a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from kubeharden.redaction.spellings import words_of


class LazyPattern:
    """A pattern that is compiled when it is first used, since most processes have a use for few of them."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._pattern, self._flags = pattern, flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The pattern as ``re`` has it."""
        return re.compile(self._pattern, self._flags)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Yield each match, as ``finditer`` of a pattern does."""
        return self.compiled.finditer(text)


Names = re.Pattern[str] | LazyPattern
# What is looked for, each with words of which one stands, in small letters or not, in every text that has it; without
# words, it may be in any.
Rows = tuple[tuple[tuple[str, ...], LazyPattern], ...]


def row(words: str, pattern: str, flags: int = 0) -> tuple[tuple[str, ...], LazyPattern]:
    """Return a pattern with its words, between which a ``|`` stands."""
    return tuple(words.split("|")), LazyPattern(pattern, flags)


def those_in(lower: str, searched: Rows) -> Iterator[LazyPattern]:
    """Yield what a text may have that is in small letters."""
    for words, found in searched:
        for word in words:  # as a loop: ``any`` would take twice as long, and most texts are short
            if word in lower:
                yield found
                break


def fold(text: str) -> str:
    """Return a text in small letters, one for each character, as a pattern that ignores case compares them."""
    for letter, same in () if text.isascii() else zip("İıſ", "iis", strict=True):
        text = text.replace(letter, same)
    return text.lower()


MARK = re.compile(r"‹redacted sha256:[0-9a-f]{8}›")

# A private key without the lines around it: PKCS#1 and PKCS#8 begin with their version, 0; a certificate does not.
_KEY_BODY = (
    r"M(?<![A-Za-z0-9+/]M)(?:I[IJKL][A-P][A-Za-z0-9+/][AQgw]IBA[A-D]|HcCAQEEI|IG[A-Za-z0-9+/]AgE|C4CAQAwBQYDK2Vw)"
    r"[A-Za-z0-9+/]{16,}(?:\r?\n[ \t]*[A-Za-z0-9+/]{40,})*(?:\r?\n[ \t]*[A-Za-z0-9+/]+)?={0,2}"
)
# A value is known as a secret by its form, wherever it stands: it is the last group, or all without one.
FORMS = (
    row(
        "-----begin",
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    row(
        "ssh2|private-lines:",
        r"(?s)---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----.*?(?:---- END SSH2 ENCRYPTED PRIVATE KEY ----|\Z)"
        r"|(?<=Private-Lines: )\d+\s+(?:[A-Za-z0-9+/=]+\s+)*",  # of PuTTY
    ),
    row("mi|mhccaqeei|mc4caqawbqydk2vw", _KEY_BODY),
    # the same in base64, as kubeconfigs have it; certificates and public keys begin otherwise
    row("ls0tls1crudjti", r"LS0tLS1CRUdJTi(?!BDRVJU|BQVUJM|BUUlVT)[A-Za-z0-9+/]{20,}={0,2}"),
    # JSON web tokens, which service account tokens are
    row("eyj", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)+"),
    # bootstrap tokens: id.secret (k8s.io/cluster-bootstrap/token/api)
    row(".", r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    # tokens that say whose they are: GitHub, GitLab, Slack, OpenShift, Vault, age, npm, Stripe, Google
    row(
        "",
        r"(?<![A-Za-z0-9])(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}"
        r"|sha256~[\w-]{20,}|hv[brs]\.[\w-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}|npm_[A-Za-z0-9]{20,}"
        r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
        r"|GOCSPX-[\w-]{10,}|1//0[\w-]{20,}|glsa_\w{20,}|xapp-[\w-]{10,}|shpat_\w{20,}|dapi[0-9a-f]{32}"
        r"|sk-[\w-]{20,}|hf_[A-Za-z0-9]{20,}|pypi-AgEI[\w-]{20,}|SG\.[\w-]{20,}\.[\w-]{20,}|dop_v1_[a-f0-9]{20,})",
    ),
    row(":aa", r"(?<!\d)\d{8,10}:AA[\w-]{30,}"),  # of Telegram's bots
    # of a JSON web key (RFC 7518)
    row('"d":|"p":|"q":|"k":', r"(?<=\"[dpqk]\":\")[\w-]{16,}|(?<=\"[dpqk]\": \")[\w-]{16,}"),
    row("==", r"(?<![A-Za-z0-9+/])AQ[A-Za-z0-9+/]{36}=="),  # keys of Ceph (cephx, CryptoKey)
    # addresses that are passwords: of webhooks
    row(
        "hooks.slack.com/|/api/webhooks/|/webhookb2/|base64url.bearer.",
        r"(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[\w/-]{10,}|(?<=/api/webhooks/)\d+/[\w-]{20,}"
        r"|(?<=/webhookb2/)[\w@/-]{20,}|(?<=base64url\.bearer\.authorization\.k8s\.io\.)[\w-]{8,}",
    ),
    # what crypt(3) makes of passwords
    row("$", r"\$(?:1|2[abxy]|5|6|7|y|gy|apr1|argon2[a-z]+)\$[\w./=$,+-]{10,}"),
    row(":", r"(?m)(?<=:)[./0-9A-Za-z]{13}(?=:\d{0,5}:\d{0,5}:)"),  # its oldest form, in /etc/shadow
    row("{", r"(?<=\{)(?:S?SHA(?:256|384|512)?|S?MD5|CRYPT|PBKDF2[\w-]*)\}[\w./+=$-]{10,}"),  # RFC 2307
    # --token-auth-file: token, user, uid, groups (kubernetes.io, "Static token file")
    row("system:", r"(?m)^[^\s,\"]{1,400}(?=,[^\s,\"]{1,200},[^\s,\"]{1,200},\"[^\"\n]*\bsystem:)"),
    row("://", r"(?<=://)[^\s/:@\"'<>]*:([^\s/\"'<>]+)(?=@)"),  # of a user
)

# A quote: as it is, escaped (as often as a text stands in texts), or as HTML writes it.
QUOTE = r"""(?:\\*(?:\"{3}|'{3}|["'`])|&(?:quot|apos|\#0*3[49]|\#[xX]0*2[27]);)"""
# Types of which the content is not text (RFC 2046): nobody can tell what is in it.
BINARY_TYPE = re.compile(
    r"(?:image/(?!svg\+xml)|audio/|video/|font/)[\w.+-]+|application/(?:pdf|octet-stream|zip|gzip|x-tar|wasm)"
)
# A value is known as a secret by the name before it: of flags, keys of YAML and JSON, variables. The name must end
# there, so that --token-auth-file=/path and tokenFile: stay readable.
_ENDS = (
    r"(?:passwor[dt]|passwd|passphrase|kennwort|contrase[ñn]a|mot_?de_?passe|wachtwoord|senha|secret|token|cookie|dsn"
    r"|(?:private|secret|api|access|account|signing|encryption|master|license|webhook|shared|session|certificate"
    r"|app|routing|service|integration|fernet|unseal|hmac)[_-]?key(?:[_-]?base)?"
    r"|secret[_-]?id|(?:cli|registry)[_-]?auth|access[_-]?key[_-]?id|client-key-data|connection[_-]?string|webhook[_-]?url"
    r"|(?<![a-z0-9])(?:(?:store|key)?pass|pwd|(?:bind_?)?pw|psk|otp|pin|pincode|passcode)"
    r"|(?-i:(?<=[a-z])(?:Pass|Pwd|Psk|Otp|Pin)))s?"  # dbPass
)
NAME = rf"(?<![a-z0-9_.-])[a-z0-9_.-]*{_ENDS}"
KEY = re.compile(rf"(?i)(?:{NAME}|auth)")
# One of these is in each such name, and in what else NAMED finds.
HINTS = (
    "identified",
    *("pass", "pwd", "pw", "psk", "otp", "pin", "secret", "token", "cookie", "dsn", "key"),
    *("auth", "connection", "webhook", "sig", "credential", "code="),
    *("kennwort", "contrase", "wachtwoord", "senha"),
)
# They are looked for in small letters; a match may also begin at one that stands within a word.
_HINT = re.compile("|".join(["proxy-(?=auth)", "_(?=auth)", *HINTS]))
_IN_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


class ByHints(LazyPattern):
    """A pattern that has a hint in it, and so need not be tried everywhere.

    Args:
        pattern: a match of it begins with a sign, with a hint, or with the word that has its first hint.
        signs: in small letters; none of them stands a second time between the beginning and that word.
    """

    def __init__(self, pattern: str, *signs: str) -> None:
        super().__init__(f"(?i){pattern}")
        self._signs = signs

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Yield what ``finditer`` of the pattern does."""
        lower, last, end = fold(text), 0, 0
        for hint in _HINT.finditer(lower):
            begin = hint.start()
            while begin > last and lower[begin - 1] in _IN_NAMES:
                begin -= 1
            signs = {lower.rfind(sign, last, begin) for sign in self._signs}
            last = hint.start()
            for start in sorted({*signs, begin, last}):
                if start >= end and (match := self.compiled.match(text, start)):
                    yield match
                    end = match.end()


# What stands between a name and its value: the quote that ends the name, a bracket, a sign.
_SIGN = (
    rf"(?:{QUOTE})?\]?[ \t]*\\?(?::=|=>|->|\+=|[:=：]|%3[ADad]|&(?:\#(?:5?8|61|[xX]3[AaDd])|colon|equals);)"  # noqa: RUF001
)
PASSWORD = r"(?<![a-z0-9_.-])[a-z0-9_.-]*(?:passwor[dt]|passwd|passphrase)"  # noqa: S105 - the name of one
_SCHEME = r"(?:bearer|basic|digest|negotiate|token|apikey|aws4-hmac-sha256)\b"
NAMED = ByHints(
    rf"(?:{NAME}|(?<=[\"'])auth(?=\\*[\"'])|(?<![a-z0-9])_auth){_SIGN}"
    rf"|\b(?:proxy-)?authorization{_SIGN}(?=[\s\[\\\"'-]{{0,16}}(?:{_SCHEME}|(?=[a-z._~+/-]*\d)[\w.~+/=-]{{8,}}))"
    # set("password", "…"), IDENTIFIED BY '…', and a quoted one right behind its name
    rf"|\(\s*{QUOTE}{NAME}(?<!s){QUOTE}\s*,\s*(?=[\"'])|\bidentified[ \t]+by[ \t]+(?=[\"'])|{PASSWORD}[ \t]+(?=[\"']\S)"
    # {{"name": "DB_PASSWORD", "value": …}}
    rf"|\b(?:name|key)(?:{QUOTE})?[ \t]*[:=][ \t]*(?:{QUOTE})?{NAME}(?:{QUOTE})?[ \t]*,?\s*(?:{QUOTE})?"
    rf"(?:value|content){_SIGN}"
    # signed URLs
    r"|[?&](?:sig|signature|x-amz-signature|x-amz-credential|code)=",
    *("(", "name", "key", "?", "&"),
)
# In markup, a value ends where the next tag or cell begins.
ELEMENT = ByHints(
    rf"<(?:[\w-]+:)?{NAME}(?:\s[^<>\n]*)?>(?:<!\[CDATA\[)?|{NAME}(?:{QUOTE})?\s*</t[dh]>\s*<t[dh][^<>]*>"
    rf"|\|[ \t]*(?:{QUOTE})?{NAME}(?:{QUOTE})?[ \t]*\|",
    *("<", "|"),
)
# The value is the next word, or the next item of a list: --token X, ["--token", "X"]. A flag that names no secret is a
# match too, so that no other is tried from further right within it, as in "-.-.-.".
FLAG = LazyPattern(
    rf"(?i)-(?<![\w-]-)(?:(?=[a-z0-9_.ñ-]++[\s,\"'`&\\])-?[a-z0-9_.-]*{_ENDS}"
    rf"(?:(?:{QUOTE})?\s*,\s*|\s*\n[+ -]?\s*- ?|\s+(?:\\\r?\n\s*)?)(?=[^\s-])(?!\\\r?\n)"
    r"|(?P<harmless>[a-z0-9_.-]++))"
)
# Forms of lines and addresses in which units and objects have been looked for.
FIELDS = (
    # the last of the five fields of a line of ~/.pgpass (libpq): host, port, database, user, password
    row(
        ":",
        r"(?m)^[+ -]?[^\s:]{1,255}:(?:[1-9]\d{3,4}|\*):(?:[^\s:\\]|\\.){1,80}:(?:[^\s:\\]|\\.){1,80}:"
        r"((?:[^:\\\r\n]|\\.)+)$",
    ),
    # a credential in a unit (systemd.exec(5)), after its name
    row("setcredential", r"(?m)^[+ -]?[ \t]*SetCredential(?:Encrypted)?[ \t]*=[^:\n]{1,255}:(.+)$"),
    row("https://", r"(?<=https://)(?=[^\s/:@\"'<>]*\d)[^\s/:@\"'<>]{12,}(?=@)"),  # a user that is a token
)
SCHEMES = (row("bearer|basic", r"(?i)\b(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/=-]{8,})"),)
ANY_FLAG = re.compile(r"--(?<![\w-]--)[a-z][a-z0-9-]*=(?=\S)")
# Environment= of a unit, also in a diff: whatever the variables are called.
UNIT_ENVIRONMENT = re.compile(r"(?m)^[+ -]?[ \t]*Environment[ \t]*=(?=.)")
CONTINUED = re.compile(r"(?:[^\n\\]+|\\.)*", re.DOTALL)  # a line with those that continue it
ASSIGNED = re.compile(r"(?<!\w)[A-Za-z_]\w*=")
# The data of a Secret, as JSON, YAML or a dict's repr.
SECRET_KIND = re.compile(rf"""kind(?:{QUOTE})?\s*:\s*(?:{QUOTE})?Secret(?:List)?\b""")
SECRET_DATA = re.compile(rf"""(?<![\w.-])(?:data|stringData){_SIGN}""")
STRING_DATA = re.compile(rf"""stringData(?<![\w.-]stringData){_SIGN}""")  # nothing but a Secret has it
SECRET_ITEM = re.compile(rf"""(?<![\w.-])[\w.-]+{_SIGN}""")
# What the next lines may make a secret of: a name, a value whose name comes after it, an anchor, a login; keys.
TO_COME = LazyPattern(
    rf"(?i){NAME}|\bvalue(?:{QUOTE})?[ \t]*[:=]|(?:^|[ \t])&\w|\b(?:machine|login|account|authorization|stringData)\b"
)
LINES_TO_COME, LINES_OF_SECRET = (
    3,
    40,
)  # after a line with one of these, and between the kind of a Secret and its data
_HUNKS = re.compile(
    r"(?m)^@@ -\d[^\n]*\n(?:[ +@\\-][^\n]*\n)*"
)  # of a diff, which need their head to be read
_KEY_WITHOUT_LINES = re.compile(_KEY_BODY)
# What begins something of which the end is still to come, and that end: keys, and an object that does not say its kind.
_BEGINS_AND_ENDS = (
    (re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"), re.compile("-----END ")),
    (re.compile("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"), re.compile("---- END ")),
    (re.compile("Private-Lines:"), re.compile("Private-MAC:")),
    (re.compile(rf"apiVersion(?:{QUOTE})?\s*:"), re.compile(rf"\bkind(?:{QUOTE})?\s*:")),
)

# A secret that looks like a word, a name or a part of a digest may be a part of longer ones by chance: it is taken out
# only where it is a word of its own.
_ORDINARY = re.compile(r"(?=.{1,15}\Z)(?:[A-Za-z]+\d*|[0-9a-fA-F]+)(?:[._-](?:[A-Za-z]+\d*|[0-9a-fA-F]+))*")
# A word begins here although a letter or a digit stands before: the end of what JSON, Python or a URL write for a
# character (as in "\\nword" and "%20word"), or a short option with its value (-pword).
_BEGINS = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})"
    r"|(?<=%[0-9A-F]{2})|(?<=(?<![\w-])-[A-Za-z]))"
)


def starts_to_come(text: str) -> Iterator[int]:
    """Yield where in a text something begins of which more may come: the end of the text where nothing does."""
    for begins, ends in _BEGINS_AND_ENDS:
        last = max((match.start() for match in ends.finditer(text)), default=-1)
        yield next((match.start() for match in begins.finditer(text) if match.end() > last), len(text))
    *_, hunks = [None, *_HUNKS.finditer(text)]
    yield hunks.start() if hunks and hunks.end() == len(text) else len(text)
    *_, body = [None, *_KEY_WITHOUT_LINES.finditer(text)]
    yield body.start() if body and not text[body.end() :].strip() else len(text)
    start = len(text)
    while text.endswith(("\\\n", "\\\r\n"), 0, start):  # a line that the next one continues
        start = text.rfind("\n", 0, start - 1) + 1
    yield start


def is_whole(text: str) -> bool:
    """Check that a text has no mark of a secret that was taken out of it."""
    return MARK.search(text) is None


def is_secret_name(name: str) -> bool:
    """Check whether what stands after a name is a secret: the name of a flag, a variable, or a field."""
    return KEY.fullmatch(name) is not None


def is_ordinary(secret: str) -> bool:
    """Check whether a secret may be a part of longer words by chance."""
    return _ORDINARY.fullmatch(secret) is not None


def places(text: str, *, words: bool) -> re.Pattern[str]:
    """Return the pattern that finds a text, folded at its blanks or not: anywhere, or only as a word of its own.

    As a part of a time, an address or a version, a number does not count as a word.
    """
    before = after = ""
    if words and text[0].isalnum():
        before = _BEGINS
    if words and text[-1].isalnum():
        after = "(?![A-Za-z0-9])"
    if words and text.isdecimal():
        before, after = r"(?<![0-9][.:-])" + before, after + "(?![.:-][0-9])"
    folded = r"(?:\s|\\\n)+".join(map(re.escape, words_of(text)))
    return re.compile(f"{before}{folded}{after}")
