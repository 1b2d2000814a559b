"""A text is first looked at for a word, and a place in it for a hint: it saves time and leaves out nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubeharden.redaction import MARK, Redactor
from kubeharden.redaction import spellings as spellings_module
from kubeharden.redaction.decoding import decoded_words
from kubeharden.redaction.names import SEARCHED
from kubeharden.redaction.patterns import FIELDS, FORMS, SCHEMES, Names, fold, those_in
from kubeharden.redaction.spellings import Spellings
from secret_shapes import TEXTS, secrets_and_rest

ROWS = [*FORMS, *FIELDS, *SCHEMES, *(row for _, rows in SEARCHED for row in rows)]
SHAPES = [secrets_and_rest(text)[1] for text in TEXTS.values()]
# One for each way in which a name may end.
NAMES = """
    password passwort passwd passphrase kennwort contraseña contrasena mot_de_passe motdepasse wachtwoord senha secret
    token cookie dsn private-key routing_key fernetkey secret-id cli_auth registryauth access-key-id client-key-data
    connection_string webhook-url keypass pwd bind_pw psk otp pin pincode passcode dbPass dbPwd dbPsk dbOtp dbPin
""".split()
# Where a match begins within a word, at a sign before it, or with a letter that is like one of ASCII.
BEGINNINGS = [
    *("x.authorization: Bearer abcdefgh1", "x.proxy-authorization: basic abcdefgh1", "token-_auth=x"),
    *("xproxy-authorization: basic abcdefgh1", "otproxy-authorization: basic abcdefgh1", "x-identified by 'x'"),
    'token(  "secret", "x"',
    *('name: my-name-password, value: "x"', "key=key value=x", "?x-amz-credential=x", "token?code=x", "&sig=&code=x"),
    *("<secret:password>x", "<é-secret:token a='b'>x", "|`token`| |token||token|", "x.--token y", "--contraseña y"),
    *("pa\u017f\u017fword: x", "to\u212aen=x", "P\u0130N: x", "p\u0131n: x", "dbPa\u017f\u017f: x", "CONTRASEÑA: x"),
]  # fmt: skip
PIECES = [
    *re.findall(r"\w+|\W", "".join([*SHAPES, *BEGINNINGS])),
    *(
        "‹redacted sha256:0123abcd›",
        "\n- ",
        " = ",
        "&quot;",
        '\\"',
        "</td><td>",
        "\u2028",
        "\u017f",
        "\u0130",
    ),
]
MIXTURES = st.lists(st.sampled_from(sorted({*PIECES, *BEGINNINGS})), max_size=12).map("".join)


def found(names: Names, text: str) -> list[tuple[int, int]]:
    return [match.span() for match in names.finditer(text) if match.lastgroup != "harmless"]


def assert_that_a_first_look_leaves_out_nothing(text: str) -> None:
    lower = fold(MARK.sub("\0", text))  # as it was before marks came into it
    for words, names in ROWS:
        looked = [span for one in those_in(lower, ((words, names),)) for span in found(one, text)]
        assert looked == found(names.compiled, text), names.compiled


@pytest.mark.parametrize("text", [*BEGINNINGS, *SHAPES])
def test_a_first_look_leaves_out_nothing(text: str) -> None:
    for form in (text, text.upper(), text.title(), f"x {text} {text}"):
        assert_that_a_first_look_leaves_out_nothing(form)


@pytest.mark.parametrize("name", NAMES)
def test_a_first_look_leaves_out_no_name(name: str) -> None:
    for text in (f"{name}: x", f"--{name} x", f"<{name}>x</{name}>", f"<b>{name}</b>: <b>x</b>"):
        assert_that_a_first_look_leaves_out_nothing(text)
        assert any(found(names, text) for _, names in ROWS), text


@pytest.mark.sample(2)
@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_first_look_leaves_out_nothing_that_a_pattern_describes(number: int) -> None:
    @settings(suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.from_regex(ROWS[number][1].compiled))
    def check(text: str) -> None:
        assert_that_a_first_look_leaves_out_nothing(text)

    check()


@given(MIXTURES)
def test_a_first_look_leaves_out_nothing_of_a_mixture(text: str) -> None:
    assert_that_a_first_look_leaves_out_nothing(text)


def test_small_letters_are_those_that_a_pattern_compares() -> None:
    every = "".join(map(chr, range(0x110000)))
    small = fold(every)
    assert len(small) == len(every)
    same = {char: letter for char, letter in zip(every, small, strict=True) if "a" <= letter <= "z"}
    assert set(re.findall("(?i)[a-z]", every)) == same.keys()
    assert all(re.fullmatch(f"(?i){letter}", char) for char, letter in same.items())


@pytest.mark.parametrize("text", ["https://web?X-Amz-Credential=hunter&a=b", "pa\u017f\u017fword: hunter"])
def test_a_name_that_no_other_word_gives_away_names_a_secret(redactor: Redactor, text: str) -> None:
    assert "hunter" not in redactor.redact(text)


@given(MIXTURES, st.integers(1, 12))
def test_of_words_in_codes_those_are_left_out_that_say_too_little(text: str, least: int) -> None:
    said = [word for word in decoded_words(text, 1) if len(word[2]) >= least]
    assert list(decoded_words(text, least)) == said


@pytest.mark.parametrize("few", [0, 1_000_000])
def test_few_and_many_texts_are_found_alike(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(spellings_module, "FEW", few)
    known = Spellings(8)
    for text in ("planted-1", "grüße planted", "ab", "it's"):
        known.add(text)
    rest = " harmless words" * 30
    assert set(known.found_in(f"x planted-1, it''s{rest}").values()) == {"planted-1", "it's"}
    assert set(known.found_in(rf"gr\u00fc\u00dfe planted{rest}").values()) == {"grüße planted"}
    assert not known.found_in(rest)
    assert known.shortest == len("planted-1")
